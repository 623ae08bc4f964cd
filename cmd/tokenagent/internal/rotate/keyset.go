package rotate

import (
	"fmt"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// The steps on a key set, in which no key is current: all of them are accepted,
// and the signers alone decide with which they sign.

// addKey puts a key into a key set.
func (r *request) addKey(c content.Content) (change, error) {
	switch {
	case r.given && c.Refuses(r.token):
		return refuse("the key %s is revoked; give another one", r.token.Fingerprint())
	case r.replace:
		return refuse("a key set has room for many keys, and nothing is replaced in it; leave --replace out, and retire what is not to be accepted")
	case slices.ContainsFunc(c.Listed, func(k content.Credential) bool { return k.ID() == r.token.ID() }):
		return unchanged(c, "%s is in the set already", r.token.Fingerprint())
	}
	to := c.Clone()
	to.Listed = append(to.Listed, r.token)
	return change{to: to, changed: true, made: true, summary: "added " + r.token.Fingerprint() + " to the set"}, nil
}

// promoteInSet has nothing to write. It is where agents are asked before signers change.
func (r *request) promoteInSet(c content.Content) (change, error) {
	is := func(k content.Credential) bool { return k.Fingerprint() == r.expect }
	if r.expect != "" && !slices.ContainsFunc(accepted(c), is) {
		return refuse("%s, as --expect says, is not accepted; look who was here (tokenagent rotate status), and stage first", r.expect)
	}
	ch, err := unchanged(c, "a key set has no current key: let signers change to the new one now, and retire the old one once everything that it signed has expired")
	ch.ask = true
	return ch, err
}

// retireKey takes one key out of a key set.
func retireKey(c content.Content, name string) (change, error) {
	named := findKeys(c, name)
	switch {
	case len(named) == 0:
		return unchanged(c, "the set has no key of that name; nothing to retire")
	case len(named) > 1:
		return refuse("%d keys have that name, %s; give the fingerprint of the one that is meant", len(named), prints(named))
	}
	to := c.Clone()
	to.Listed = without(to.Listed, named[0].ID())
	if len(accepted(to)) == 0 {
		return refuse("%s is the last key that is accepted, and nothing would be without it; stage another one first", named[0].Fingerprint())
	}
	retireGone(c, &to)
	ch := change{to: to, changed: true, summary: "retired " + named[0].Fingerprint()}
	if kids := named[0].KeyIDs(); len(kids) > 1 {
		ch.summary += fmt.Sprintf(", under all its names: kid %q", kids)
	}
	return ch, nil
}

// findKeys returns the keys of a set that go by the kid, or else have the
// fingerprint or thumbprint, name.
func findKeys(c content.Content, name string) []content.Credential {
	keep := func(is func(content.Credential) bool) []content.Credential {
		return slices.DeleteFunc(slices.Clone(c.Listed), func(k content.Credential) bool { return !is(k) })
	}
	if named := keep(func(k content.Credential) bool { return slices.Contains(k.KeyIDs(), name) }); len(named) > 0 {
		return named
	}
	if id, ok := parseDigest(name); ok {
		return keep(func(k content.Credential) bool { return k.ID() == id })
	}
	return keep(func(k content.Credential) bool { return k.Fingerprint() == name })
}

// accepted returns the keys of a set that are not revoked.
func accepted(c content.Content) []content.Credential {
	return slices.DeleteFunc(slices.Clone(c.Listed), c.Refuses)
}

func nextInSet(c content.Content) string {
	switch n := len(accepted(c)); {
	case n == 0:
		return "stage, at once: every key is revoked"
	case n > 1:
		return "promote, which asks receivers with --agent, before signers change to a new key; retire --key, once everything that an old one signed has expired"
	default:
		return "stage, when it is time for the next rotation"
	}
}
