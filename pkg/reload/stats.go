package reload

import (
	"maps"
	"time"
)

// Mode says how a Value learns of changes.
type Mode string

// The modes.
const (
	ModeEvents Mode = "events" // file system events, and polling as well
	ModePoll   Mode = "poll"   // polling alone; also before and after Run
	ModeStatic Mode = "static" // cannot change from outside; Reload alone
)

// Result says how one attempt to bring a Value up to date ended. A read that
// found new content which must still hold still is no attempt of its own.
type Result string

// The results.
const (
	Applied   Result = "applied"   // new content was accepted
	Unchanged Result = "unchanged" // the content is what was accepted last
	Rejected  Result = "rejected"  // read, but the Step refused it
	Failed    Result = "error"     // could not be read
)

// Reasons of Stats.WatchErrors.
const (
	reasonAdd      = "add"      // a directory could not be watched
	reasonLimit    = "limit"    // for want of inotify instances, watches or descriptors
	reasonOverflow = "overflow" // the kernel's queue overflowed and events are lost
	reasonOther    = "other"
)

// WatchErrorReasons returns the keys that Stats.WatchErrors may have.
func WatchErrorReasons() []string {
	return []string{reasonAdd, reasonLimit, reasonOverflow, reasonOther}
}

// Stats is a snapshot of a Value's bookkeeping. While Run runs and polls, the
// sum of the four counters grows at least once per poll interval or Debounce,
// whichever is longer: it is a heartbeat.
type Stats struct {
	Applied, Unchanged, Rejected, Failed uint64 // finished attempts, by Result

	LastSuccess time.Time // when content was last read and was good (applied or unchanged)
	LastChange  time.Time // when content was last applied
	LastError   error     // of the last attempt; nil when it was good
	Mode        Mode
	WatchErrors map[string]uint64 // by reason: "add", "limit", "overflow", "other"; each fault once until it heals
	FixedMount  string            // path of a single-file mount, which shows no replacement, so no Secret's update; "" when none
	Durations   Histogram         // of the attempts: reading and the Step, without waiting for content to hold still
}

// Histogram counts durations; Buckets are cumulative upper bounds in seconds as
// Prometheus has them, so that prometheus.NewConstHistogram takes the three as
// they are.
type Histogram struct {
	Count   uint64
	Sum     float64 // seconds
	Buckets map[float64]uint64
}

// bounds reach from a read of tmpfs to a file system that hangs.
var bounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1} //nolint:gochecknoglobals // constant

func (h *Histogram) observe(d time.Duration) {
	if h.Buckets == nil {
		h.Buckets = make(map[float64]uint64, len(bounds))
	}
	s := d.Seconds()
	h.Count++
	h.Sum += s
	for _, b := range bounds {
		if _, ok := h.Buckets[b]; !ok {
			h.Buckets[b] = 0
		}
		if s <= b {
			h.Buckets[b]++
		}
	}
}

// A book is the Stats as a Value keeps them, and what it has logged.
type book struct {
	Stats
	said map[string]bool // faults logged since the last good read
	// polling says that the log tells why there are no file system events.
	polling bool
}

// note books an attempt. It reports whether a fault is new, and whether the
// source has healed, which is what gets logged.
// maxSaid bounds how many distinct faults are told apart.
const maxSaid = 16

func (b *book) note(res Result, began, now time.Time, err error) (news, healed bool) {
	switch res {
	case Applied:
		b.Applied++
		b.LastChange = now
	case Unchanged:
		b.Unchanged++
	case Rejected:
		b.Rejected++
	case Failed:
		b.Failed++
	}
	b.Durations.observe(now.Sub(began))
	b.LastError = err
	if err == nil {
		b.LastSuccess = now
		healed = len(b.said) > 0
		b.said = nil
		return false, healed
	}
	text := err.Error()
	if news = !b.said[text]; news {
		if b.said == nil || len(b.said) >= maxSaid {
			b.said = make(map[string]bool)
		}
		b.said[text] = true
	}
	return news, false
}

func (b *book) watchErrors(counts map[string]uint64) {
	if b.WatchErrors == nil {
		b.WatchErrors = make(map[string]uint64, 4)
	}
	for reason, n := range counts {
		b.WatchErrors[reason] += n
	}
}

// snapshot shares no map with the book.
func (b *book) snapshot() Stats {
	s := b.Stats
	s.WatchErrors = maps.Clone(s.WatchErrors)
	s.Durations.Buckets = maps.Clone(s.Durations.Buckets)
	return s
}
