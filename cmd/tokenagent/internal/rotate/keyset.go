package rotate

import (
	"fmt"
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
		return refuse("%s, as --expect says, is not accepted; look who was here (tokenagent rotate status), and stage first", o.expect)
	}
	return done(c, "a key set has no current key: let signers change to the new one now, and retire the old one once everything that it signed has expired")
}

func retireKey(c content.Content, name string) (change, error) {
	named := findKeys(c, name)
	switch {
	case len(named) == 0:
		return done(c, "the set has no key of that name; nothing to retire")
	case len(named) > 1:
		return refuse("%d keys have that name, %s; give the fingerprint of the one that is meant", len(named), prints(named))
	}
	c.Listed = without(c.Listed, named[0].ID())
	if len(accepted(c)) == 0 {
		return refuse("%s is the last key that is accepted, and nothing would be without it; stage another one first", named[0].Fingerprint())
	}
	ch, err := done(c, "retired %s", named[0].Fingerprint())
	if kids := named[0].KeyIDs(); len(kids) > 1 {
		ch.summary += fmt.Sprintf(", under all its names: kid %q", kids)
	}
	return ch, err
}

// findKeys returns the keys of a set with the kid name, or else with the fingerprint or
// thumbprint name.
func findKeys(c content.Content, name string) (named []content.Credential) {
	id, isDigest := parseDigest(name)
	var others []content.Credential
	for _, k := range c.Listed {
		switch {
		case slices.Contains(k.KeyIDs(), name):
			named = append(named, k)
		case isDigest && k.ID() == id, k.Fingerprint() == name:
			others = append(others, k)
		}
	}
	if len(named) == 0 {
		return others
	}
	return named
}

// accepted returns the keys of a set that are not revoked.
func accepted(c content.Content) []content.Credential {
	return slices.DeleteFunc(slices.Clone(c.Listed), c.Refuses)
}
