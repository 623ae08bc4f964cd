package supervise

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Supervisor)(nil)

// counts is what happened so far.
type counts struct{ changes, retries, signals, kills uint64 }

// stats is what scrapes read: immutable, and replaced whole.
type stats struct {
	counts
	running      bool
	started, due time.Time
	fingerprint  string // of the token that the program has; "" before there is one
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tokenagent_exec_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // constants, which the language cannot say
var (
	descRestarts = desc("restarts_total", "Restarts of the program, by reason: its token changed, or it failed soon after a restart.", "reason")
	descSignals  = desc("signals_total", "Signals that told the program of a change (--on-change signal).")
	descKills    = desc("kills_total", "Programs killed because they did not end within --stop-timeout.")
	descRunning  = desc("running", "Whether the program runs (1) or not (0).")
	descStarted  = desc("child_start_timestamp_seconds", "When the program was last started, as Unix time; 0 for never.")
	descPending  = desc("pending_restart_timestamp_seconds", "When the program is due to get another token or to be tried again, as Unix time; 0 for neither.")
	descToken    = desc("token_info", "The token that the program has, by fingerprint (the first 8 hex digits of SHA-256).", "fingerprint")
)

// publish makes the state as it is now what scrapes see.
func (s *Supervisor) publish() {
	next := &stats{counts: s.counts, running: s.prog != nil, started: s.started, due: s.nextDue()}
	if s.phase == resting && (s.next == nil || s.restTill.Before(s.next.due)) {
		next.due = s.restTill
	}
	if s.token != "" {
		next.fingerprint = fingerprint(s.token)
	}
	s.stats.Store(next)
}

// Describe implements [prometheus.Collector].
func (s *Supervisor) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRestarts, descSignals, descKills, descRunning, descStarted, descPending, descToken} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *Supervisor) Collect(ch chan<- prometheus.Metric) {
	now := s.stats.Load()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...) //nolint:promlinter // linted where they are gathered, in the tests
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...) //nolint:promlinter // as above
	}
	counter(descRestarts, now.changes, "change")
	counter(descRestarts, now.retries, "retry")
	counter(descSignals, now.signals)
	counter(descKills, now.kills)
	running := 0.0
	if now.running {
		running = 1
	}
	gauge(descRunning, running)
	gauge(descStarted, seconds(now.started))
	gauge(descPending, seconds(now.due))
	if now.fingerprint != "" {
		gauge(descToken, 1, now.fingerprint)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
