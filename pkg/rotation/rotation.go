// Package rotation decides which credentials are accepted now, and until when.
//
// It is a pure ledger: [Advance] takes the ledger that was, what the source
// declares now and the time, and returns the ledger that is. It does no I/O,
// starts no goroutine and keeps no clock. Shared tokens and verification keys
// use the same ledger, so they rotate by the same rules.
//
// The unit is the credential, not the version of the file: each one has its
// own slot and its own deadline, so that two rotations inside one window keep
// both superseded credentials, each to its own deadline, and a rotation back
// restores what it displaced.
package rotation

import (
	"sync/atomic"
	"time"
)

// An ID names a credential without giving it away: the SHA-256 of a token, or
// the RFC 7638 thumbprint of a key.
type ID = [32]byte

// A Decl is one credential as its source declares it.
type Decl[V any] struct {
	ID    ID
	Slot  Slot      // the zero Slot is taken as Listed
	Until time.Time // of Previous: accepted until exactly then; zero means while declared. Ignored in other slots
	Value V
}

// An Entry is one credential of a [Ledger].
type Entry[V any] struct {
	Decl[V]

	// Declared tells a credential that the source names now from one that is
	// only remembered through its overlap.
	Declared bool
	// Deadline is the first moment at which the credential is no longer
	// accepted. Zero means that it has none.
	Deadline time.Time
	// Use is where uses of the credential are recorded. The ledgers that
	// follow share it, so that a reload forgets no use. Never nil.
	Use *Use
}

// Live reports whether the credential is accepted at now: before its deadline,
// never at it.
func (e *Entry[V]) Live(now time.Time) bool {
	return e.Deadline.IsZero() || now.Before(e.Deadline)
}

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

// A Window says how long a superseded credential stays accepted.
type Window struct {
	// Overlap counts from the moment at which another credential became
	// current. Zero or negative means that there is none.
	Overlap time.Duration
}
