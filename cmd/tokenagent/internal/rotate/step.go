package rotate

import (
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A step is a pure function: it gets what a source declares and what to do, and
// returns what the source is to declare and what the report says. It may modify c,
// which is a copy.
type step func(c content.Content, o options) (change, error)

// options say what a step is to do. Each step reads only its own.
type options struct {
	now         time.Time
	onePrevious bool // the source has room for one previous token or key

	// stage, now
	candidate content.Credential // to stage, unless one is staged
	given     bool               // candidate was there before, and was not made for this step
	replace   bool
	again     bool // now: although the last overlap is under way

	// promote, now
	until        time.Time // deadline of the old token or key
	dropPrevious bool

	expect string // fingerprint that promote or revoke must find; "" means any
	slot   string // that retire or revoke is about
	key    string // name of the key that retire takes out of a key set

	// revoke, unrevoke
	id     *rotation.ID  // nil if slot says what is meant
	ids    []rotation.ID // to revoke
	line   string        // how id is written; "" means as hex digits
	forget bool          // remove id from the revocations instead
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
	if err == nil && !ch.to.Equal(from) {
		ch.changed = true
		noteRetired(from, &ch.to)
	}
	return ch, err
}

// maxRetired is how many retired digests are kept: as many rotations as an agent
// may have missed.
const maxRetired = 16

// noteRetired writes down what leaves its slot without being revoked. An agent that
// missed the promotion would otherwise remember it for a window of its own. A previous
// token that goes is no longer listed either, because its deadline held for both.
func noteRetired(from content.Content, to *content.Content) {
	gone := slices.Clone(from.Next)
	if from.IsKeySet {
		gone = slices.Clone(from.Listed)
	}
	for _, s := range from.Previous {
		gone = append(gone, s.Token)
		if _, kept := to.Superseded(s.Token); !kept {
			to.Listed = without(to.Listed, s.Token.ID())
		}
	}
	declared := to.Declared()
	for _, t := range gone {
		if id := t.ID(); !to.Refuses(t) && !isIn(declared, id) {
			to.Retired = append(slices.DeleteFunc(to.Retired, func(r rotation.ID) bool { return r == id }), id)
		}
	}
	to.Retired = slices.DeleteFunc(to.Retired, func(id rotation.ID) bool { return isIn(declared, id) })
	to.Retired = to.Retired[max(len(to.Retired)-maxRetired, 0):]
	if to.NoDigests {
		to.Retired = nil
	}
}

func stage(c content.Content, o options) (change, error) {
	if c.IsKeySet {
		return addKey(c, o)
	}
	if nextIsCurrent(c) {
		c.Next = nil
	}
	noun, id := c.Kind.Noun(), o.candidate.ID()
	staged := slices.DeleteFunc(slices.Clone(c.Next), c.Refuses)
	switch {
	case o.given && c.Refuses(o.candidate):
		return refuse("the %s %s is revoked; give another one", noun, o.candidate.Fingerprint())
	case o.given && id == c.Current.ID():
		return done(c, "%s is the current %s already", o.candidate.Fingerprint(), noun)
	case o.given && len(c.Next) == 1 && id == c.Next[0].ID():
		return done(c, "%s is staged already", o.candidate.Fingerprint())
	case o.replace || len(staged) == 0:
		c.Next = []content.Credential{o.candidate}
		return done(c, "staged %s as the next %s", o.candidate.Fingerprint(), noun)
	case len(staged) > 1:
		return change{}, severalStaged(staged)
	}
	return refuse("another %s, %s, is staged; promote it first, or put yours in its place with --replace", noun, staged[0].Fingerprint())
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

func promote(c content.Content, o options) (change, error) {
	noun, old := c.Kind.Noun(), c.Current
	switch {
	case c.IsKeySet:
		return promoteInSet(c, o)
	case nextIsCurrent(c) && (o.expect == "" || o.expect == old.Fingerprint()):
		return finish(c)
	case o.expect == old.Fingerprint():
		return done(c, "%s is the current %s already", o.expect, noun)
	case len(c.Next) == 0:
		return promotedAlready(c, o)
	case len(c.Next) > 1:
		return change{}, severalStaged(c.Next)
	}
	next := c.Next[0]
	switch {
	case o.expect != "" && o.expect != next.Fingerprint():
		return refuse("the staged %s is %s and not %s as --expect says; see what is staged with tokenagent rotate status", noun, next.Fingerprint(), o.expect)
	case c.Refuses(next):
		return refuse("the staged %s, %s, is revoked; stage another, which takes its place", noun, next.Fingerprint())
	}
	ch := change{summary: "promoted " + next.Fingerprint()}
	if _, was := c.Superseded(next); was {
		ch.warnings = []string{next.Fingerprint() + " was superseded before, and is current again"}
	}
	c.Current, c.Next = next, nil
	c.Listed = without(c.Listed, old.ID(), next.ID())
	c.Previous = slices.DeleteFunc(c.Previous, func(s content.Superseded) bool {
		id := s.Token.ID()
		return o.dropPrevious || !s.Live(o.now) || id == next.ID() || id == old.ID() || c.Refuses(s.Token)
	})
	switch {
	case c.Refuses(old):
		ch.summary += "; " + old.Fingerprint() + " is revoked and stays refused"
	case o.onePrevious && len(c.Previous) > 0:
		return refuse("%s is still accepted as the previous %s%s, and there is room for one; retire it first, or refuse it from now on with --drop-previous",
			c.Previous[0].Token.Fingerprint(), noun, deadline(c.Previous[0]))
	default:
		s := content.Superseded{Token: old, Until: o.until}
		c.Previous = slices.Insert(c.Previous, 0, s)
		if s.Live(o.now) {
			ch.summary += "; " + old.Fingerprint() + " is accepted" + deadline(s)
		} else {
			ch.summary += "; " + old.Fingerprint() + " is no longer accepted"
		}
	}
	ch.to = c
	return ch, nil
}

// promotedAlready tells a promotion that was done from one that has nothing to promote:
// a promotion leaves a previous token with a deadline.
func promotedAlready(c content.Content, o options) (change, error) {
	var last content.Superseded
	for _, s := range c.Previous {
		if s.Until.After(last.Until) {
			last = s
		}
	}
	switch {
	case o.expect != "":
		return refuse("%s, as --expect says, is neither staged nor current; see what is there with tokenagent rotate status, and stage first", o.expect)
	case last.Until.IsZero():
		return refuse("no %s is staged; stage one first, and promote it once every receiver has it", c.Kind.Noun())
	}
	ch, err := done(c, "promoted already: %s is current, and the deadline of %s is %s", c.Current.Fingerprint(), last.Token.Fingerprint(), content.Deadline(last.Until))
	if !last.Live(o.now) { // a rotation of long ago that nobody retired looks the same
		ch.warnings = []string{"nothing is staged, and the last rotation is over; to begin another one, stage first"}
	}
	return ch, err
}

// retire removes every superseded token.
func retire(c content.Content, o options) (change, error) {
	switch {
	case o.slot == slotNext:
		return unstage(c)
	case c.IsKeySet:
		return retireKey(c, o.key)
	case len(c.Previous) == 0:
		return done(c, "there is no previous %s; nothing to retire", c.Kind.Noun())
	}
	old := inSlot(c, slotPrevious)
	c.Previous = nil
	return done(c, "retired %s", fingerprintsOf(old))
}

// unstage undoes stage.
func unstage(c content.Content) (change, error) {
	if len(c.Next) == 0 {
		return done(c, "no %s is staged; nothing to take out", c.Kind.Noun())
	}
	staged := c.Next
	c.Next = nil
	return done(c, "took out %s, which was staged", fingerprintsOf(staged))
}

// now stages and promotes. Unlike the other steps it is not idempotent, so while an
// overlap is under way it needs --again.
func now(c content.Content, o options) (change, error) {
	if c.IsKeySet {
		return refuse("a key set has no current key; stage, wait for the receivers, let signers change, wait for what the old key signed to expire, and retire it")
	}
	for _, old := range c.Previous {
		if !o.again && old.Live(o.now) && !c.Refuses(old.Token) && old.Token.ID() != c.Current.ID() {
			more := ""
			if o.onePrevious {
				more = " --drop-previous, which refuses it"
			}
			return refuse("the last rotation is still under way: %s is accepted%s; retire it first, or rotate all the same with --again%s",
				old.Token.Fingerprint(), deadline(old), more)
		}
	}
	ch, err := stage(c, o)
	if err != nil || o.given && o.candidate.ID() == c.Current.ID() {
		return ch, err
	}
	return promote(ch.to, o)
}

func deadline(s content.Superseded) string {
	if s.Until.IsZero() {
		return " without a deadline"
	}
	return " until " + content.Deadline(s.Until)
}

// inSlot returns the tokens or keys that are in a slot.
func inSlot(c content.Content, slot string) (in []content.Credential) {
	switch {
	case slot == slotNext:
		return c.Next
	case slot == slotPrevious:
		for _, s := range c.Previous {
			in = append(in, s.Token)
		}
	case c.HasCurrent():
		in = append(in, c.Current)
	}
	return in
}

func isIn(all []content.Credential, id rotation.ID) bool {
	return slices.ContainsFunc(all, func(t content.Credential) bool { return t.ID() == id })
}

func without(all []content.Credential, ids ...rotation.ID) []content.Credential {
	return slices.DeleteFunc(all, func(t content.Credential) bool { return slices.Contains(ids, t.ID()) })
}

func idsOf(all []content.Credential) []rotation.ID {
	ids := make([]rotation.ID, len(all))
	for i, t := range all {
		ids[i] = t.ID()
	}
	return ids
}

func fingerprintsOf(all []content.Credential) string { return fingerprintList(idsOf(all)) }
