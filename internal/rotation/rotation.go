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

import "time"

// An ID names a credential without giving it away: the SHA-256 of a token, or
// the RFC 7638 thumbprint of a key.
type ID = [32]byte

// A Decl is one credential as its source declares it.
type Decl[V any] struct {
	ID    ID
	Slot  Slot      // the zero Slot is taken as Listed
	Until time.Time // of Previous: accepted until exactly then; zero means while declared. Ignored in other slots
	Value V
	// Names are further IDs by which the credential can be revoked, such as one
	// made of the kid of a key.
	Names []ID
}

// A Content is what a source says at one moment.
type Content[V any] struct {
	Decls []Decl[V]
	// Revoked is refused from now on, also once the source no longer says so.
	Revoked []ID
	// Retired is accepted no more and not remembered, where Decls do not have it.
	Retired []ID
	// Unrevoked is no longer revoked, where Revoked does not have it.
	Unrevoked []ID
}

// An Entry is one credential of a [Ledger].
type Entry[V any] struct {
	Decl[V]
	// Declared tells a credential that the source names now from one that is
	// only remembered through its overlap.
	Declared bool
	// Use is where uses of the credential are recorded. The ledgers that
	// follow share it, so that a reload forgets no use. Never nil.
	Use *Use

	window *window     // nil means no deadline
	opens  *activation // the windows that a use of this credential opens; nil for none
}

// Live reports whether the credential is accepted at now: before its deadline,
// never at it. It changes nothing.
func (e *Entry[V]) Live(now time.Time) bool { return e.window.live(now) }

// Accept reports whether the credential is accepted at now, and if so records
// the use: in Use, in its own window where that slides, and in the windows that
// wait for this credential to be used. A credential that it has once refused is
// refused for good, whatever becomes of the clock, until its source declares it
// anew. It allocates nothing and takes no lock.
//
// Where neither [Entry.Dated] nor [Entry.Opens] is true there is nothing to
// record and nothing to ask, so a verifier may leave the call and the clock out.
func (e *Entry[V]) Accept(now time.Time) bool {
	if !e.window.accept(now) {
		return false
	}
	if e.Slot == Previous {
		e.Use.Mark(now)
	}
	e.opens.use(now)
	return true
}

// Dated reports whether the credential may come to a deadline, or has uses to
// record.
func (e *Entry[V]) Dated() bool { return e.window != nil || e.Slot == Previous }

// Opens reports whether a use of the credential would open a window that waits
// for one.
func (e *Entry[V]) Opens() bool { return e.opens.pending() }

// Deadline returns the first moment at which the credential is no longer
// accepted, as things stand at now, and the zero Time where there is none. That
// of a window that slides moves with each use, up to Cap. It is told by the
// wall clock as it goes now, though windows are measured without it.
func (e *Entry[V]) Deadline(now time.Time) time.Time { return e.window.deadline(now) }

// Cap returns the moment past which no use renews a window that slides, and the
// zero Time for any other.
func (e *Entry[V]) Cap(now time.Time) time.Time { return e.window.cap(now) }

// Waiting reports whether the window of a superseded credential still waits for
// the first use of the one that took its place.
func (e *Entry[V]) Waiting() bool { return e.window.waiting() }

// A Window says how long a superseded credential stays accepted.
type Window struct {
	// Overlap counts from the moment at which another credential became
	// current. Zero or negative means that there is none.
	Overlap time.Duration
	// MaxOverlap, where positive, makes the window slide. Then it opens at the
	// first accepted use of a credential that took the place; each accepted use
	// of the superseded one renews it by Overlap, to within a second; and it
	// ends MaxOverlap after the switch whatever the uses were. Less than
	// Overlap counts as Overlap. Zero or negative means that it does not slide.
	MaxOverlap time.Duration
}

func (w Window) slides() bool { return w.Overlap > 0 && w.MaxOverlap > 0 }

// longest returns the longest that a window can last from its beginning.
func (w Window) longest() time.Duration {
	if w.slides() {
		return max(w.Overlap, w.MaxOverlap)
	}
	return max(w.Overlap, 0)
}
