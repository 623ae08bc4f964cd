package reload

import (
	"maps"
	"time"
)

// Modes of Stats.Mode.
const (
	modeEvents = "events" // file system events, and polling as well
	modePoll   = "poll"   // polling alone; also before and after Run
	modeStatic = "static" // cannot change from outside; Reload alone
)

// A result says how one attempt to bring a Value up to date ended. A read that
// found new content which must still hold still is no attempt of its own.
type result int

const (
	applied   result = iota // new content was accepted
	unchanged               // the content is what was accepted last
	rejected                // read, but the Step refused it
	failed                  // could not be read
)

// Reasons of Stats.WatchErrors.
const (
	reasonAdd      = "add"      // a directory could not be watched
	reasonLimit    = "limit"    // for want of inotify instances, watches or descriptors
	reasonOverflow = "overflow" // the kernel's queue overflowed and events are lost
	reasonOther    = "other"
)

// Stats is a snapshot of a Value's bookkeeping. While Run runs and polls, the
// sum of the four counters grows at least once per poll interval or Debounce,
// whichever is longer: it is a heartbeat.
type Stats struct {
	Applied, Unchanged, Rejected, Failed uint64 // finished attempts

	LastSuccess time.Time         // when content was last read and was good (applied or unchanged)
	LastChange  time.Time         // when content was last applied
	LastError   error             // of the last attempt; nil when it was good
	Mode        string            // "events", "poll" or "static"
	WatchErrors map[string]uint64 // by reason, of which all are there: "add", "limit", "overflow", "other"; each fault once until it heals
	FixedMount  string            // path of a single-file mount, which shows no replacement, so no Secret's update; "" when none
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

func (b *book) note(res result, now time.Time, err error) (news, healed bool) {
	switch res {
	case applied:
		b.Applied++
		b.LastChange = now
	case unchanged:
		b.Unchanged++
	case rejected:
		b.Rejected++
	case failed:
		b.Failed++
	}
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
	for reason, n := range counts {
		b.WatchErrors[reason] += n
	}
}

// snapshot shares no map with the book.
func (b *book) snapshot() Stats {
	s := b.Stats
	s.WatchErrors = maps.Clone(s.WatchErrors)
	return s
}
