package rotate

import (
	"encoding/base64"
	"encoding/hex"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxRevoked bounds the list of revocations, and that of lifted ones: a Secret holds
// 1 MiB.
const maxRevoked = 1000

// revoke adds o.ids to the revocations, and takes what they revoke out of its slots.
func revoke(c content.Content, o options) (change, error) {
	switch {
	case o.forget:
		return forget(c, *o.id)
	case c.NoDigests:
		return refuse("a key set that is a file has no place for revocations; take a key out with retire --key, or use a directory, which has the file revoked beside jwks.json")
	case o.finishes(c):
		ch, err := finish(c)
		ch.summary += "; revoked already: " + fingerprintList(c.Revoked)
		ch.warnings = []string{c.Current.Fingerprint() + " is not revoked; to revoke it, do the step again"}
		return ch, err
	case len(o.ids) == 0:
		return nothingToRevoke(c, o)
	}
	before := c.Clone()
	hits := content.Content{Revoked: o.ids}.Refuses
	c.Revoked = append(c.Revoked, slices.DeleteFunc(slices.Clone(o.ids), before.IsRevoked)...)
	if len(c.Revoked) > max(maxRevoked, len(before.Revoked)) {
		return refuse("1000 revocations are there already; take out old ones with --forget DIGEST, once no agent remembers their tokens")
	}
	c.Unrevoked = slices.DeleteFunc(c.Unrevoked, func(id rotation.ID) bool { return slices.Contains(o.ids, id) })
	if o.line != "" {
		c.Wording = map[rotation.ID]string{o.ids[0]: o.line}
	}
	c.Next = slices.DeleteFunc(c.Next, hits)
	c.Previous = slices.DeleteFunc(c.Previous, func(s content.Superseded) bool { return hits(s.Token) })
	name := o.line
	if name == "" {
		name = fingerprintList(o.ids)
	}
	ch := change{summary: "revoked " + name}
	noun, current := c.Kind.Noun(), c.Current.Fingerprint()
	if !c.IsKeySet {
		c.Listed = slices.DeleteFunc(c.Listed, hits)
	}
	switch {
	// In a set keys stay; retire takes them out.
	case c.IsKeySet && (len(accepted(c)) > 0 || len(accepted(before)) == 0):
	case c.IsKeySet && !o.force:
		return refuse("no key of the set would be accepted any more; stage another one first, and then revoke, or refuse every request from now on with --force")
	case c.IsKeySet:
		ch.warnings = []string{"every key of the set is revoked: all requests are refused; run stage"}

	// Otherwise the staged token takes the place of a revoked current one.
	case !hits(c.Current):
	case len(c.Next) == 1 && !c.Refuses(c.Next[0]):
		c.Current, c.Next = c.Next[0], nil
		id := c.Current.ID()
		c.Previous = slices.DeleteFunc(c.Previous, func(s content.Superseded) bool { return s.Token.ID() == id })
		c.Listed = without(c.Listed, id)
		ch.summary += "; " + c.Current.Fingerprint() + ", which was staged, is current"
	case len(c.Next) > 1:
		return change{}, severalStaged(c.Next)
	case before.Refuses(c.Current):
	case !o.force:
		return refuse("%s is the current %s and none is staged to take its place; stage one first, and then revoke, or refuse every request from now on with --force", current, noun)
	default:
		ch.warnings = []string{"the current " + noun + " is revoked and none takes its place: its senders are refused; run stage and promote"}
	}
	if c.Equal(before) {
		return done(c, "%s is revoked already", name)
	}
	ch.to = c
	return ch, nil
}

// finishes reports whether revoke --slot current was cut short before its last write.
// Then what is current now is not what is to be revoked.
func (o options) finishes(c content.Content) bool {
	return o.id == nil && o.slot == slotCurrent && nextIsCurrent(c) && len(c.Revoked) > 0 && o.expect != c.Current.Fingerprint()
}

// nothingToRevoke says that what is meant is revoked already.
func nothingToRevoke(c content.Content, o options) (change, error) {
	if o.expect != "" {
		return done(c, "%s is revoked already", o.expect)
	}
	noun := c.Kind.Noun()
	ch, err := done(c, "there is no %s %s; revoked already: %s", o.slot, noun, fingerprintList(c.Revoked))
	ch.warnings = []string{"nothing was revoked now; agents may remember a " + noun + " that is not declared as " + o.slot + "; name it with --from FILE or --digest"}
	return ch, err
}

// forget removes a revocation, if that lets nothing in again.
func forget(c content.Content, id rotation.ID) (change, error) {
	fingerprint := verify.Fingerprint(id)
	switch {
	case !c.IsRevoked(id):
		return done(c, "%s is not revoked; nothing to forget", fingerprint)
	case slices.ContainsFunc(c.Declared(), content.Content{Revoked: []rotation.ID{id}}.Refuses):
		return refuse("%s is revoked and still declared, so forgetting the revocation would let it in again; replace the %s first", fingerprint, c.Kind.Noun())
	}
	is := func(r rotation.ID) bool { return r == id }
	c.Revoked = slices.DeleteFunc(c.Revoked, is)
	c.Unrevoked = slices.DeleteFunc(c.Unrevoked, is) // agents that remember the revocation would obey it now
	return done(c, "forgot that %s was revoked", fingerprint)
}

// unrevoke moves a revocation to the list of lifted ones. That list drops its oldest
// entries: an agent that never saw one goes on refusing, which is safe.
func unrevoke(c content.Content, o options) (change, error) {
	if c.NoDigests {
		return refuse("a key set that is a file has no place for revocations, so there is none to lift")
	}
	id := *o.id
	if !c.IsRevoked(id) && slices.Contains(c.Unrevoked, id) {
		return done(c, "%s is already unrevoked", verify.Fingerprint(id))
	}
	is := func(r rotation.ID) bool { return r == id }
	c.Revoked = slices.DeleteFunc(c.Revoked, is)
	c.Unrevoked = append(slices.DeleteFunc(c.Unrevoked, is), id)
	c.Unrevoked = c.Unrevoked[max(len(c.Unrevoked)-maxRevoked, 0):]
	if o.line != "" {
		c.Wording = map[rotation.ID]string{id: o.line}
	}
	ch, err := done(c, "%s is no longer revoked", verify.Fingerprint(id))
	if o.line == "" && !isIn(c.Declared(), id) {
		ch.summary += "; it is in no slot, so stage it with --from where it is to be accepted again"
	}
	return ch, err
}

func fingerprintList(ids []rotation.ID) string { return content.ShortList(fingerprints(ids)) }

func fingerprints(ids []rotation.ID) (out []string) {
	for _, id := range ids {
		out = append(out, verify.Fingerprint(id))
	}
	return out
}

// parseDigest reads 64 hex digits, or 43 characters of base64url.
func parseDigest(text string) (id rotation.ID, ok bool) {
	b, err := hex.DecodeString(text)
	if len(text) != hex.EncodedLen(len(id)) {
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	}
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return rotation.ID(b), true
}
