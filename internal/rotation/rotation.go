// Package rotation decides which credentials are accepted now, and until when.
//
// The package is a pure ledger: [Advance] takes the previous ledger, the content that the
// source declares now and the time, and returns the next ledger. The package does no I/O,
// starts no goroutine and reads no clock. Shared tokens and verification keys use the
// same ledger, so they rotate by the same rules.
//
// The ledger tracks credentials, not versions of a file. Each credential has its own slot
// and its own deadline. So two rotations within one overlap keep both superseded
// credentials, each until its own deadline, and a rotation back makes the earlier
// credential current again.
package rotation

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"time"
)

// An ID names a credential without revealing it: the SHA-256 of a token, or the RFC 7638
// thumbprint of a key.
type ID [32]byte

// MarshalText returns id in hexadecimal. The error is always nil.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText parses what MarshalText returns. The error does not quote text.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(id)) {
		return errID
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return errID
	}
	return nil
}

var errID = errors.New("rotation: an ID must be 64 hex digits")

// A Decl is one credential as its source declares it.
type Decl[V any] struct {
	ID ID
	// Client is the client that the credential belongs to; "" is the unnamed client. Each
	// client rotates alone.
	Client string
	Slot   Slot      // the zero Slot means Listed
	Until  time.Time // deadline of a credential in slot Previous; zero means none; ignored in other slots
	Value  V
	// Names are further IDs that revoke the credential, such as an ID made from the kid
	// of a key.
	Names []ID
}

// ClientRule is the text in which errors state the rule of ValidClient.
const ClientRule = "a client's name has at most 63 letters, digits, '.', '_' and '-', and begins with a letter or a digit"

// ClientLabel returns the words by which errors name a client. A name of "" is the unnamed
// client.
func ClientLabel(name string) string {
	if name == "" {
		return "the unnamed client"
	}
	return "client " + name
}

// ValidClient reports whether name can be the name of a client: 1 to 63 letters, digits,
// '.', '_' and '-'. The first must be a letter or a digit.
func ValidClient(name string) bool {
	if name == "" || len(name) > 63 || strings.ContainsRune("._-", rune(name[0])) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// A Content is what a source declares at one moment. The zero Content declares nothing.
type Content[V any] struct {
	Decls []Decl[V]
	// Revoked lists the credentials that are refused from now on, even after the source
	// stops listing them.
	Revoked []ID
	// Retired lists credentials that are no longer accepted and get no window. An ID that
	// is also in Decls is ignored here.
	Retired []ID
	// Unrevoked lists the revocations that the source lifts. An ID that is also in
	// Revoked is ignored here.
	Unrevoked []ID
}

// An Entry is one accepted credential of a [Ledger]. Its methods are safe for concurrent
// use.
type Entry[V any] struct {
	Decl[V]
	// Declared reports whether the source declares the credential now. If it is false,
	// the ledger only remembers the credential until the end of its window.
	Declared bool
	// Since is the time at which this process first saw the credential in its slot.
	Since time.Time
	// Use records the uses of the credential. Successive ledgers share it, so a reload
	// keeps the last use. It is never nil.
	Use *Use

	window *window     // nil means no deadline
	opens  *activation // the windows that a use of this credential opens; nil if there are none
}

// supersede makes e a superseded credential that is remembered for window.
func (e *Entry[V]) supersede(window *window) {
	e.Slot, e.Since, e.Declared, e.Until, e.window = Previous, window.from, false, time.Time{}, window
}

// Live reports whether the credential is accepted at now, which must be before its
// deadline. Live records nothing.
func (e *Entry[V]) Live(now time.Time) bool {
	return e.window == nil || e.window.liveIn(e.window.state.Load(), now)
}

// Accept reports whether the credential is accepted at now. If so, Accept records the use
// in Use if the slot is Previous, renews the window of the credential if that window
// slides, and opens the windows that wait for a use of this credential. Once Accept has
// refused a credential, it keeps refusing the credential, even if the clock is set back,
// until the source declares the credential anew. Accept allocates nothing and takes no
// lock.
//
// If both [Entry.Dated] and [Entry.Opens] return false, Accept always returns true and
// records nothing, so a verifier may skip the call and need not read the clock.
func (e *Entry[V]) Accept(now time.Time) bool {
	if e.window != nil && !e.window.accept(now) {
		return false
	}
	if e.Slot == Previous {
		e.Use.Mark(now)
	}
	e.opens.use(now)
	return true
}

// Dated reports whether the credential has a deadline, or uses to record.
func (e *Entry[V]) Dated() bool { return e.window != nil || e.Slot == Previous }

// Opens reports whether a use of the credential would open a waiting window.
func (e *Entry[V]) Opens() bool { return e.opens.pending() }

// Deadline returns the first moment at which the credential is no longer accepted, as
// known at now. It returns the zero Time if the credential has no deadline. The deadline
// of a sliding window moves with each use, up to Cap. The result is a time of the current
// wall clock, although windows are measured by the monotonic clock.
func (e *Entry[V]) Deadline(now time.Time) time.Time {
	w := e.window
	switch {
	case w == nil:
		return time.Time{}
	case w.until.IsZero():
		return onWall(w.end(w.state.Load()), now)
	}
	if end := onWall(w.latestEnd(), now); w.length < math.MaxInt64 && end.Before(w.until.Add(-clockStep)) {
		return end
	}
	return w.until
}

// Cap returns the latest possible deadline of a sliding window. It returns the zero Time
// if the window does not slide, or if there is no window.
func (e *Entry[V]) Cap(now time.Time) time.Time {
	if e.window == nil || e.window.overlap <= 0 {
		return time.Time{}
	}
	return onWall(e.window.latestEnd(), now)
}

// Waiting reports whether the window of a superseded credential still waits for the first
// use of its successor.
func (e *Entry[V]) Waiting() bool { return e.window.waiting() }

// A Window says how long a superseded credential stays accepted. The zero Window grants
// no overlap: a superseded credential is refused at once.
type Window struct {
	// Overlap is counted from the moment at which another credential became current. Zero
	// or a negative value means no overlap.
	Overlap time.Duration
	// MaxOverlap makes the window slide if it is positive. A sliding window opens at the
	// first accepted use of a successor. Each accepted use of the superseded credential
	// renews the window by Overlap, to within a second. The window ends MaxOverlap after
	// the switch at the latest. A positive value below Overlap counts as Overlap. Zero or
	// a negative value makes the window fixed.
	MaxOverlap time.Duration
}

func (w Window) slides() bool { return w.Overlap > 0 && w.MaxOverlap > 0 }

// longest returns the maximum length of a window.
func (w Window) longest() time.Duration {
	if w.slides() {
		return max(w.Overlap, w.MaxOverlap)
	}
	return max(w.Overlap, 0)
}

// ParseDeadline parses the deadline of a credential that is declared previous. The error
// does not quote text.
func ParseDeadline(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("the deadline is not an RFC 3339 time; write it as 2006-01-02T15:04:05Z")
	}
	return ClampTime(t), nil
}

// ClampTime limits t to the years that RFC 3339 and JSON can represent. It never returns the
// zero Time, which would mean no deadline.
func ClampTime(t time.Time) time.Time {
	first, last := time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	default:
		return t
	}
}
