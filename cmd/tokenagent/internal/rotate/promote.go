package rotate

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
)

func (r *request) addPromote(f *pflag.FlagSet) {
	r.addOverlap(f)
	r.addGate(f)
	r.addExpect(f, "promote")
}

func (r *request) addOverlap(f *pflag.FlagSet) {
	f.DurationVar(&r.overlap, "overlap", unset, "how long the old one stays accepted; 0s means not at all; must be given for verification keys")
	f.Lookup("overlap").DefValue = agent.DefaultOverlap.String()
	f.StringVar(&r.untilFlag, "until", "", "accept the old one until `TIME` (RFC 3339) instead")
	f.BoolVar(&r.dropPrevious, "drop-previous", false, "stop accepting the previous token or key of an earlier rotation")
}

// prepareOverlap does not guess how long an old key is needed.
func (r *request) prepareOverlap(all []content.Source) error {
	switch c := all[0]; {
	case r.overlap != unset || r.untilFlag != "" || c.IsKeySet:
	case c.Kind == content.Keys:
		return exitcode.Usage("--overlap is missing: what the old key signed is refused when it ends; make it longer than signers take to change, and the longest token is good for, together")
	default:
		r.overlap = agent.DefaultOverlap
	}
	return nil
}

// deadline rounds an overlap up to whole seconds, which is what a source can declare.
// An overlap of zero has a deadline as well: without one, an agent would remember the
// old token for an overlap of its own.
func (r *request) deadline(now time.Time) time.Time {
	if !r.untilTime.IsZero() {
		return r.untilTime
	}
	until := now.Add(r.overlap)
	if r.overlap > 0 {
		until = until.Add(time.Second - 1)
	}
	return until.Truncate(time.Second)
}

// loaded is passed by agents that accept what is promoted.
func (r *request) loaded(from, to content.Content) gate.Check {
	keys := []content.Credential{to.Current}
	if to.IsKeySet {
		keys = accepted(to)
	}
	return gate.Loaded(fingerprints(idsOf(from.Declared())), fingerprints(idsOf(keys))...)
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
	s := content.Superseded{Token: old, Until: o.until}
	switch {
	case c.Refuses(old):
		ch.summary += "; " + old.Fingerprint() + " is revoked and stays refused"
		ch.to = c
		return ch, nil
	case c.OnePrevious && len(c.Previous) > 0:
		return refuse("%s is still accepted as the previous %s%s, and there is room for one; retire it first, or refuse it from now on with --drop-previous",
			c.Previous[0].Token.Fingerprint(), noun, deadline(c.Previous[0]))
	case s.Live(o.now):
		ch.summary += "; " + old.Fingerprint() + " is accepted" + deadline(s)
	default:
		ch.summary += "; " + old.Fingerprint() + " is no longer accepted"
	}
	c.Previous = slices.Insert(c.Previous, 0, s)
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
	if o.isUntilGiven && !last.Until.Equal(o.until.Truncate(time.Second)) {
		return refuse("%s is promoted already, and the deadline of %s is %s, not that of --until; move it to a later time with extend, or end it with retire", c.Current.Fingerprint(), last.Token.Fingerprint(), content.Deadline(last.Until))
	}
	ch, err := done(c, "promoted already: %s is current, and the deadline of %s is %s (extend postpones it)", c.Current.Fingerprint(), last.Token.Fingerprint(), content.Deadline(last.Until))
	if !last.Live(o.now) { // a rotation of long ago that nobody retired looks the same
		ch.warnings = []string{"nothing is staged, and the last rotation is over; to begin another one, stage first"}
	}
	return ch, err
}

// promoteInSet changes nothing. Agents can be asked before signers change.
func promoteInSet(c content.Content, o options) (change, error) {
	isExpected := func(k content.Credential) bool { return k.Fingerprint() == o.expect }
	if o.expect != "" && !slices.ContainsFunc(accepted(c), isExpected) {
		return refuse("%s, as --expect says, is not accepted; see what is there with tokenagent rotate status, and stage first", o.expect)
	}
	return done(c, "a key set has no current key: let signers change to the new one now, and retire the old one once everything that it signed has expired")
}
