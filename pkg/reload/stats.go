package reload

import "time"

// Values of Stats.Mode.
const (
	modeEvents = "events"
	modePoll   = "poll"
	modeStatic = "static"
)

// Keys of Stats.WatchErrors.
const (
	reasonAdd      = "add"
	reasonLimit    = "limit"
	reasonOverflow = "overflow"
	reasonOther    = "other"
)

// Stats is a snapshot of what a [Value] did since Open.
type Stats struct {
	// Applied, Unchanged, Rejected and Failed count finished reads by their result:
	// the Step accepted the content; it was the content accepted last; the Step
	// refused it; it could not be read. A read that found content which may still be
	// incomplete counts only once that is decided. While Run polls, their sum grows
	// at least once per poll interval or Debounce, whichever is longer.
	Applied, Unchanged, Rejected, Failed uint64

	// LastSuccess is when a read was last Applied or Unchanged, LastChange when it
	// was last Applied. Both are zero before the first.
	LastSuccess, LastChange time.Time

	// LastError is the error of the last finished read; nil after a good one.
	LastError error

	// Mode says how Run learns of changes: "events" (file system events, and polling
	// as well), "poll" (polling only; also while Run does not run), or "static" (an
	// environment variable, which only Reload reads again).
	Mode string

	// WatchErrors counts errors of the file system events. It has all four keys:
	// "add" (a directory could not be watched), "limit" (inotify instances, watches
	// or file descriptors are used up), "overflow" (the kernel dropped events), and
	// "other". A directory that cannot be watched is tried again, and counted, at every
	// read, if changes would be missed without it.
	WatchErrors map[string]uint64

	// FixedMount is the path of a file that is itself a mount point, such as a
	// Kubernetes subPath: replacing it outside the mount is never seen. It is ""
	// if there is none.
	FixedMount string
}

// stats is the Stats of a Value, and what was logged.
type stats struct {
	Stats
	loggedErrors   map[string]bool // since the last good read
	noEventsLogged bool            // the log says why there are no events
}

// maxLoggedErrors limits how many different errors are remembered as logged.
const maxLoggedErrors = 16

// record counts a finished read. It reports whether err must be logged because it
// is new, and whether the source has recovered from a logged error.
func (s *stats) record(count *uint64, changed bool, err error) (isNew, recovered bool) {
	*count++
	s.LastError = err
	if err == nil {
		s.LastSuccess = time.Now()
		if changed {
			s.LastChange = s.LastSuccess
		}
		recovered = len(s.loggedErrors) > 0
		s.loggedErrors = nil
		return false, recovered
	}
	text := err.Error()
	if s.loggedErrors[text] {
		return false, false
	}
	if s.loggedErrors == nil || len(s.loggedErrors) >= maxLoggedErrors {
		s.loggedErrors = make(map[string]bool)
	}
	s.loggedErrors[text] = true
	return true, false
}
