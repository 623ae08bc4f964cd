package agent

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/internal/buildinfo"
	"github.com/tokenagent/tokenagent/internal/counter"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

var _ prometheus.Collector = (*Agent)(nil)

// maxInfo is the largest number of token_info series of a source. The label fingerprint
// is the only one whose values are not a closed set.
const maxInfo = 16

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tokenagent_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // never changed
var (
	descReloads       = desc("reloads_total", "Reads of the source, by result.", "source", "result")
	descRotations     = desc("rotations_total", "Changes of the current token.", "source")
	descGeneration    = desc("generation", "Changes of the accepted tokens since the start.", "source")
	descSuccessful    = desc("last_reload_successful", "Whether the last read of the source succeeded (1) or not (0).", "source")
	descSuccessTime   = desc("last_reload_success_timestamp_seconds", "Unix time of the last successful read of the source; 0 if there was none.", "source")
	descAccepted      = desc("accepted_tokens", "Tokens accepted now.", "source", "slot")
	descOverlap       = desc("overlap_expires_timestamp_seconds", "Unix time at which the last open overlap ends; 0 if none is open.", "source")
	descTokenExpires  = desc("token_expires_timestamp_seconds", "Unix time of the earliest exp of the tokens that are JWTs.", "source", "slot")
	descPreviousUsed  = desc("previous_last_used_timestamp_seconds", "Unix time at which a superseded token was last accepted; 0 if none was.", "source")
	descVerifications = desc("verifications_total", "Verifications, one for each request. Refusals have an empty source and slot.", "source", "method", "result", "slot")
	descClientCount   = desc("client_verifications_total", "Accepted verifications of each named client; at most 100 clients, the others as \"other\".", "source", "client", "slot")
	descClientUsed    = desc("client_last_used_timestamp_seconds", "Unix time at which a token of the client was last accepted, to within a poll interval; 0 if none was.", "source", "client", "slot")
	descWatchMode     = desc("watch_mode", "How the agent notices changes: 1 for the mode in use.", "source", "mode")
	descWatchErrors   = desc("watch_errors_total", "Errors of the file system watcher. Polling continues.", "source", "reason")
	descDuration      = newDurations("").Desc()
	descTokenInfo     = desc("token_info", "The tokens accepted now, by fingerprint (the first 8 hex digits of the SHA-256); at most 16.", "source", "slot", "fingerprint")
	descDeclared      = desc("revoked_token_declared", "Whether the source declares a token that is revoked, without the revocation (1), or not (0). The token stays refused.", "source")
	descStateFile     = desc("state_file_successful", "Whether the last read or write of the state file succeeded (1) or not (0). Absent without a state file.")
	descBusy          = desc("signature_checks_refused_total", "Verifications refused as unavailable because too many signatures were being checked.", "source")
	descReviews       = desc("token_reviews_total", "Requests to the API server of Kubernetes about a token, by result.", "source", "result")
	descBuildInfo     = desc("build_info", "The version of tokenagent and of Go.", "version", "goversion")
)

// newDurations returns the histogram of the durations of reads. Its buckets range from
// a read of tmpfs to a file system that hangs.
func newDurations(source string) prometheus.Histogram {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tokenagent_reload_duration_seconds",
		Help:    "Seconds that reads of the source took, from the first byte until the result was published.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}, []string{"source"})
	return v.WithLabelValues(source).(prometheus.Histogram)
}

// Describe implements [prometheus.Collector]. It sends the description of every metric,
// whether or not the Agent has that metric now.
func (a *Agent) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReloads, descRotations, descGeneration, descSuccessful, descSuccessTime, descAccepted, descOverlap, descTokenExpires,
		descPreviousUsed, descVerifications, descClientCount, descClientUsed, descWatchMode, descWatchErrors, descDuration, descTokenInfo, descDeclared, descStateFile, descBusy, descReviews, descBuildInfo,
	} {
		ch <- d
	}
}

// An emitter sends metrics to a scrape.
type emitter chan<- prometheus.Metric

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...) //nolint:promlinter // the tests lint the gathered metrics
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...) //nolint:promlinter // as above
}

// Collect implements [prometheus.Collector]. It reads memory only, and is safe for
// concurrent use. To register several Agents with one registry, give each a label with
// [prometheus.WrapRegistererWith].
func (a *Agent) Collect(ch chan<- prometheus.Metric) {
	e, now := emitter(ch), time.Now()
	for _, src := range a.sources {
		src.collect(e, now)
	}
	for i, iss := range a.issuers {
		e.counter(descBusy, iss.Busy(), a.keys[i].spec.name)
		if reviewer := a.keys[i].reviewer; reviewer != nil {
			c := reviewer.Counts()
			e.counter(descReviews, c.Authenticated, a.keys[i].spec.name, "authenticated")
			e.counter(descReviews, c.Refused, a.keys[i].spec.name, "refused")
			e.counter(descReviews, c.Failed, a.keys[i].spec.name, "error")
		}
	}
	if a.store != nil {
		e.gauge(descStateFile, bit(a.store.errorText() == ""))
	}
	e.gauge(descBuildInfo, 1, buildinfo.Version(), runtime.Version())
}

func (src *source[V, S]) collect(e emitter, now time.Time) {
	name := src.spec.name
	s, stats := src.value.Load(), src.value.Stats()
	e.counter(descReloads, stats.Applied, name, "applied")
	e.counter(descReloads, stats.Unchanged, name, "unchanged")
	e.counter(descReloads, stats.Rejected, name, "rejected")
	e.counter(descReloads, stats.Failed, name, "error")
	e.gauge(descSuccessful, bit(src.lastError(stats) == nil), name)
	e.gauge(descSuccessTime, unix(stats.LastSuccess), name)
	for _, mode := range []string{"events", "poll", "static"} {
		e.gauge(descWatchMode, bit(stats.Mode == mode), name, mode)
	}
	for reason, n := range stats.WatchErrors {
		e.counter(descWatchErrors, n, name, reason)
	}
	e <- src.durations
	e.counter(descRotations, s.rotations, name)
	e.gauge(descGeneration, float64(s.ledger.Number), name)
	e.gauge(descDeclared, bit(len(s.ledger.RevokedDeclared) > 0), name)
	src.clients.sample(now)
	uses, clients := src.clients.totals()
	for i, slot := range rotation.Slots {
		e.counter(descVerifications, src.counts[i].Load()+clients[i], name, src.spec.method, "ok", slot.String())
	}
	for class := verify.Missing; src.spec.showsRefusals && class <= verify.Revoked; class++ {
		e.counter(descVerifications, src.counts[refused+int(class)].Load(), "", src.spec.method, class.String(), "")
	}
	for _, u := range uses {
		e.counter(descClientCount, u.count, name, u.client, u.slot.String())
		e.gauge(descClientUsed, unix(u.last), name, u.client, u.slot.String())
	}
	src.collectEntries(e, s, now)
}

func (src *source[V, S]) collectEntries(e emitter, s *state[V, S], now time.Time) {
	name, live := src.spec.name, src.accepted(s, now)
	infos := make(map[[2]string]struct{}, maxInfo)
	var accepted [len(rotation.Slots)]int
	var expires [len(rotation.Slots)]time.Time
	for i, entry := range live {
		k := entry.Slot - 1
		accepted[k]++
		if exp := src.expires(entry.Value); !exp.IsZero() && (expires[k].IsZero() || exp.Before(expires[k])) {
			expires[k] = exp
		}
		// Two tokens may share a fingerprint, and a duplicate series would make the
		// whole scrape fail.
		info := [2]string{entry.Slot.String(), entry.Value.Fingerprint()}
		if _, duplicate := infos[info]; i < maxInfo && !duplicate {
			infos[info] = struct{}{}
			e.gauge(descTokenInfo, 1, name, info[0], info[1])
		}
	}
	for i, slot := range rotation.Slots {
		e.gauge(descAccepted, float64(accepted[i]), name, slot.String())
		if !expires[i].IsZero() {
			e.gauge(descTokenExpires, unix(expires[i]), name, slot.String())
		}
	}
	e.gauge(descOverlap, unix(overlapUntil(live, now)), name)
	e.gauge(descPreviousUsed, unix(s.previousLastUsed()), name)
}

// counts counts verifications: those of each slot that were accepted, then those of each
// class that were refused.
type counts [refused + int(verify.Revoked) + 1]counter.Counter

// refused is the index of the first class of refusals.
const refused = len(rotation.Slots)

// accepted counts a verification that returned p.
func (c *counts) accepted(p *verify.Principal) { c[p.Slot()-1].Add() }

// refused counts a verification that returned err.
func (c *counts) refused(err error) { c[refused+int(verify.Class(err))].Add() }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
