package rotation

import (
	"sync/atomic"
	"time"
)

// Use records when a credential was last used. The zero value was never used.
// It is safe for concurrent use.
type Use struct {
	last atomic.Int64 // Unix time in nanoseconds; 0 means never
}

// grain is how exact a recorded use is. A store for each use would make every
// core that verifies fight for one cache line.
const grain = time.Second

// Mark records a use at now, to within a second and never backwards.
func (u *Use) Mark(now time.Time) {
	n := now.UnixNano()
	for {
		last := u.last.Load()
		if last != 0 && n < last+int64(grain) {
			return
		}
		if u.last.CompareAndSwap(last, n) {
			return
		}
	}
}

// Last returns when the credential was last used, and the zero Time if it
// never was.
func (u *Use) Last() time.Time {
	n := u.last.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
