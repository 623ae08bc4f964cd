package rotate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A step is a pure function: it gets what a source declares and what to do, and
// returns what the source is to declare and what the report says. It may modify c,
// which is a copy.
type step func(c content.Content, o options) (change, error)

// options say what a step is to do. Each step reads only its own.
type options struct {
	now time.Time

	// stage, now
	candidate content.Credential // to stage, unless one is staged
	given     bool               // candidate was there before, and was not made for this step
	replace   bool
	again     bool // now: although the last overlap is under way

	// promote, now, extend
	until        time.Time // deadline of the old token or key
	isUntilGiven bool      // until is that of --until
	dropPrevious bool

	expect string // fingerprint that promote or revoke must find; "" means any
	slot   string // that retire or revoke is about; "" if ids were named
	key    string // name of the key that retire takes out of a key set

	// revoke, unrevoke
	ids    []rotation.ID // to revoke, or one whose revocation is to go
	line   string        // how the one ID is written; "" means as hex digits
	forget string        // not "": remove the ID from the revocations instead
	force  bool
}

const (
	slotCurrent  = "current"
	slotNext     = "next"
	slotPrevious = "previous"
)

// A change is what a step makes of a source, and what the report says of it.
type change struct {
	to       content.Content
	changed  bool // to declares something else than before; set by apply
	summary  string
	warnings []string
	bad      bool // status: exit code 1
}

func done(to content.Content, format string, args ...any) (change, error) {
	return change{to: to, summary: fmt.Sprintf(format, args...)}, nil
}

func refuse(format string, args ...any) (change, error) {
	return change{}, fmt.Errorf(format, args...)
}

// apply returns what do makes of from, and keeps the list of retired digests.
func apply(do step, from content.Content, o options) (change, error) {
	ch, err := do(from.Clone(), o)
	if err != nil || ch.to.Equal(from) {
		return ch, err
	}
	ch.changed = true
	noteRetired(from, &ch.to)
	return ch, checkClients(from, ch.to)
}

// maxRetired is how many retired digests are kept for each client: as many rotations as an
// agent may have missed. maxRetiredAll bounds them for all clients.
const (
	maxRetired    = 16
	maxRetiredAll = 1000
)

// noteRetired writes down what leaves its slot without being revoked. An agent that
// missed the promotion would otherwise remember it for a window of its own. A previous
// token that goes is no longer listed either, because its deadline held for both.
func noteRetired(from content.Content, to *content.Content) {
	gone := slices.Concat(from.Next, from.In(rotation.Previous))
	if from.IsKeySet {
		gone = from.Listed
	}
	for _, s := range from.Previous {
		if _, kept := to.Superseded(s.Token); !kept {
			to.Listed = without(to.Listed, s.Token.ID())
		}
	}
	for _, t := range gone {
		if id := t.ID(); !to.Refuses(t) && !to.IsDeclared(id) {
			to.Retired = append(withoutID(to.Retired, id), id)
		}
	}
	// What goBack has taken back stays there beside its previous slot.
	to.Retired = slices.DeleteFunc(to.Retired, func(id rotation.ID) bool { return to.IsDeclared(id) && !to.IsTakenBack(id) })
	clients := slices.Compact(slices.Sorted(maps.Values(to.Owners)))
	most := min(maxRetired*max(len(clients), 1), maxRetiredAll)
	to.Retired = to.Retired[max(len(to.Retired)-most, 0):]
	if to.NoDigests {
		to.Retired = nil
	}
}

func severalStaged(staged []content.Credential) error {
	return fmt.Errorf("%d are staged, %s; leave one of them, or stage a single one with --replace", len(staged), fingerprintsOf(staged))
}

// nextIsCurrent reports whether a step was cut short before its last write: what is
// staged is already current.
func nextIsCurrent(c content.Content) bool {
	return len(c.Next) == 1 && c.Next[0].ID() == c.Current.ID() && !c.Refuses(c.Current)
}

// finish makes the last write of a step that was cut short.
func finish(c content.Content) (change, error) {
	c.Next = nil
	return done(c, "finished the step that was cut short: %s is current, and no longer staged", c.Current.Fingerprint())
}

// accepted returns the keys of a set that are not revoked.
func accepted(c content.Content) []content.Credential {
	return slices.DeleteFunc(slices.Clone(c.Listed), c.Refuses)
}

func deadline(s content.Superseded) string {
	if s.Until.IsZero() {
		return " without a deadline"
	}
	return " until " + content.Deadline(s.Until)
}

func isIn(all []content.Credential, id rotation.ID) bool {
	return slices.ContainsFunc(all, func(t content.Credential) bool { return t.ID() == id })
}

func without(all []content.Credential, ids ...rotation.ID) []content.Credential {
	return slices.DeleteFunc(all, func(t content.Credential) bool { return slices.Contains(ids, t.ID()) })
}

func withoutID(all []rotation.ID, gone ...rotation.ID) []rotation.ID {
	return slices.DeleteFunc(all, func(id rotation.ID) bool { return slices.Contains(gone, id) })
}

func idsOf(all []content.Credential) []rotation.ID {
	ids := make([]rotation.ID, len(all))
	for i, t := range all {
		ids[i] = t.ID()
	}
	return ids
}

func fingerprints(ids []rotation.ID) (out []string) {
	for _, id := range ids {
		out = append(out, verify.Fingerprint(id))
	}
	return out
}

func fingerprintsOf(all []content.Credential) string { return fingerprintList(idsOf(all)) }

func fingerprintList(ids []rotation.ID) string { return content.ShortList(fingerprints(ids)) }
