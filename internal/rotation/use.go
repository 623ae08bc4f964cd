package rotation

import (
	"sync/atomic"
	"time"
)

// A Use records when a credential was last used. The zero Use has recorded no use. A Use
// is safe for concurrent use, and must not be copied.
type Use struct {
	last atomic.Int64 // Unix time in nanoseconds; 0 means never
}

// grain is the resolution of a recorded use. If every use were stored, all cores that
// verify would contend for one cache line.
const grain = time.Second

// Mark records a use at now, to within a second. A time before the recorded one has no
// effect.
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

// Last returns the time of the last use by the wall clock, to within a second. It returns
// the zero Time if the credential was never used.
func (u *Use) Last() time.Time {
	n := u.last.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
