package rotate

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

func (r *request) addRetire(f *pflag.FlagSet) {
	r.addGate(f)
	f.DurationVar(&r.idle, "idle", unset, "with --agent: how long the old one must not have been used")
	f.Lookup("idle").DefValue = "15m, or half of the overlap where that is less"
	f.StringVar(&r.slot, "slot", slotPrevious, "take out what is in `SLOT`: previous or next")
	f.StringVar(&r.key, "key", "", "of a key set: take out the key with this `KID` (any of its names), fingerprint or thumbprint")
}

func (r *request) prepareRetire(all []content.Source) error {
	switch c, next := all[0], r.slot == slotNext; {
	case c.IsKeySet && next:
		return exitcode.Usage("a key set has no slots; name the key to take out with --key")
	case next && len(r.Agents) > 0 && r.key == "":
		return exitcode.Usage("--agent goes with --slot previous; agents record no use of a staged %s", c.Kind.Noun())
	case c.IsKeySet && r.key == "":
		return exitcode.Usage("--key is missing: name the key to take out, by its kid or fingerprint, once everything that it signed has expired")
	case c.IsKeySet && len(r.Agents) > 0:
		return exitcode.Usage("--agent cannot tell who uses a key of a set, because agents record only uses of previous keys; leave it out, and wait until everything that the key signed has expired")
	case !c.IsKeySet && r.key != "":
		return exitcode.Usage("--key goes with key sets; here retire takes out the %s %s", r.slot, c.Kind.Noun())
	}
	return nil
}

// unused is passed by agents that saw no use of what is retired.
func (r *request) unused(from, _ content.Content) gate.Check {
	old := fingerprints(idsOf(from.In(rotation.Previous)))
	return gate.Unused(from.Current.Fingerprint(), old, max(r.idle, 0))
}

// retire removes every superseded token, or undoes stage.
func retire(c content.Content, o options) (change, error) {
	noun, old, staged := c.Kind.Noun(), c.In(rotation.Previous), c.Next
	switch {
	case c.IsKeySet:
		return retireKey(c, o.key)
	case o.slot == slotNext && len(staged) == 0:
		return done(c, "no %s is staged; nothing to take out", noun)
	case o.slot == slotNext:
		c.Next = nil
		return done(c, "took out %s, which was staged", fingerprintsOf(staged))
	case len(old) == 0:
		return done(c, "there is no previous %s; nothing to retire", noun)
	}
	c.Previous = nil
	return done(c, "retired %s", fingerprintsOf(old))
}

// retireKey removes the key with the kid, fingerprint or thumbprint name.
func retireKey(c content.Content, name string) (change, error) {
	id, _ := parseDigest(name)
	named := slices.DeleteFunc(slices.Clone(c.Listed), func(k content.Credential) bool {
		return k.ID() != id && k.Fingerprint() != name && !slices.Contains(k.KeyIDs(), name)
	})
	switch {
	case len(named) == 0:
		return done(c, "the set has no key of that name; nothing to retire")
	case len(named) > 1:
		return refuse("%d keys have that name, %s; give the fingerprint of one", len(named), fingerprintsOf(named))
	}
	c.Listed = without(c.Listed, named[0].ID())
	if len(accepted(c)) == 0 {
		return refuse("%s is the last key that is accepted, and without it every request would be refused; stage another one first", named[0].Fingerprint())
	}
	return done(c, "retired %s", named[0].Fingerprint())
}
