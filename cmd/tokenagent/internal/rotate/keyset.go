package rotate

import (
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// The steps on a key set. No key of it is current: receivers accept all of them, and
// the signers choose.

func addKey(c content.Content, o options) (change, error) {
	switch {
	case o.given && c.Refuses(o.candidate):
		return refuse("the key %s is revoked; give another one", o.candidate.Fingerprint())
	case o.replace:
		return refuse("a key set has room for many keys, and nothing is replaced in it; leave --replace out, and retire what is not to be accepted")
	case isIn(c.Listed, o.candidate.ID()):
		return done(c, "%s is in the set already", o.candidate.Fingerprint())
	}
	c.Listed = append(c.Listed, o.candidate)
	return done(c, "added %s to the set", o.candidate.Fingerprint())
}

// promoteInSet changes nothing. Agents can be asked before signers change.
func promoteInSet(c content.Content, o options) (change, error) {
	isExpected := func(k content.Credential) bool { return k.Fingerprint() == o.expect }
	if o.expect != "" && !slices.ContainsFunc(accepted(c), isExpected) {
		return refuse("%s, as --expect says, is not accepted; see what is there with tokenagent rotate status, and stage first", o.expect)
	}
	return done(c, "a key set has no current key: let signers change to the new one now, and retire the old one once everything that it signed has expired")
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

// accepted returns the keys of a set that are not revoked.
func accepted(c content.Content) []content.Credential {
	return slices.DeleteFunc(slices.Clone(c.Listed), c.Refuses)
}
