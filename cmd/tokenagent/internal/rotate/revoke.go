package rotate

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxRevoked bounds the list of revocations, and that of lifted ones: a Secret holds
// 1 MiB.
const maxRevoked = 1000

func (r *request) addRevoke(f *pflag.FlagSet) {
	r.addFrom(f, "revoke the token or key")
	r.addExpect(f, "revoke")
	f.StringVar(&r.slot, "slot", slotPrevious, "revoke what is in `SLOT`: previous, next or current")
	f.StringVar(&r.digest, "digest", "", "revoke the token with this SHA-256, in `HEX`, or the key with this thumbprint, in hex or base64url")
	f.StringVar(&r.kid, "kid", "", "revoke every verification key, and every signed token, of this `NAME`")
	f.StringVar(&r.jti, "jti", "", "revoke the signed token with this `ID`")
	f.StringVar(&r.forget, "forget", "", "instead of revoking, remove this SHA-256, in `HEX`, or another revocation from the list")
	f.BoolVar(&r.force, "force", false, "revoke the current one even if none is staged to take its place, or not the same one in all Secrets of a List")
}

func (r *request) addUnrevoke(f *pflag.FlagSet) {
	r.addFrom(f, "lift the revocation of the token or key")
	f.StringVar(&r.digest, "digest", "", "lift the revocation of the token with this SHA-256, in `HEX`, or of the key with this thumbprint, in hex or base64url")
	f.StringVar(&r.fingerprint, "fingerprint", "", "lift the revocation in the source that has this `FINGERPRINT`, 8 hex digits")
	f.StringVar(&r.kid, "kid", "", "lift the revocation of every verification key with this `NAME`, and of every signed token that names it")
	f.StringVar(&r.jti, "jti", "", "lift the revocation of the signed token with this `ID`")
}

func (r *request) prepareRevoke(all []content.Source) error {
	if all[0].IsKeySet && r.slot != "" {
		return exitcode.Usage("a key set has no slots; say what to revoke with --from, --digest, --kid or --jti")
	}
	if err := r.prepareUnrevoke(all); err != nil || r.slot == "" {
		return err
	}
	// Each Secret of a List is to refuse what is in the slot of any of them.
	isMeant := func(id rotation.ID) bool { return r.expect == "" || verify.Fingerprint(id) == r.expect }
	isDone := false
	for _, c := range all {
		isDone = isDone || slices.ContainsFunc(c.Revoked, isMeant) // what is revoked is in no slot any more
		if r.finishes(c.Content) {
			continue
		}
		in := map[string]rotation.Slot{slotNext: rotation.Next, slotPrevious: rotation.Previous, slotCurrent: rotation.Current}
		for _, id := range idsOf(c.In(in[r.slot])) {
			if isMeant(id) && !slices.Contains(r.ids, id) {
				r.ids = append(r.ids, id)
			}
		}
	}
	noun := all[0].Kind.Noun()
	switch {
	case len(r.ids) > 0 || isDone:
		return nil
	case r.expect != "":
		return fmt.Errorf("there is no %s %s %s, as --expect says; see what is there with tokenagent rotate status", r.slot, noun, r.expect)
	}
	return fmt.Errorf("there is no %s %s to revoke; name the %s with --from FILE or --digest, or another --slot", r.slot, noun, noun)
}

// prepareUnrevoke finds what is named, once for all sources: agents of each may remember
// it.
func (r *request) prepareUnrevoke(all []content.Source) error {
	switch {
	case all[0].Kind == content.Tokens && r.line != "":
		return exitcode.Usage("--kid and --jti go with verification keys; name the token with --from or --digest")
	case r.from != "":
		v, err := r.fromCredential()
		r.ids = []rotation.ID{v.ID()}
		return err
	case r.fingerprint == "":
		return nil
	}
	for _, c := range all {
		for _, id := range slices.Concat(c.Revoked, c.Unrevoked) {
			if verify.Fingerprint(id) == r.fingerprint && !slices.Contains(r.ids, id) {
				r.ids = append(r.ids, id)
			}
		}
	}
	switch len(r.ids) {
	case 0:
		return errors.New("no revocation here has that fingerprint; name one that only agents remember with --digest or --from FILE")
	case 1:
		return nil
	}
	return errors.New("several revocations have that fingerprint; name one with --digest")
}

// revoke adds o.ids to the revocations, and takes what they revoke out of its slots.
func revoke(c content.Content, o options) (change, error) {
	switch {
	case o.forget != "":
		return forget(c, o.ids[0])
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
	c.Unrevoked = withoutID(c.Unrevoked, o.ids...)
	c.Wording = o.wording()
	c.Next = slices.DeleteFunc(c.Next, hits)
	c.Previous = slices.DeleteFunc(c.Previous, func(s content.Superseded) bool { return hits(s.Token) })
	if !c.IsKeySet { // in a set keys stay; retire takes them out
		c.Listed = slices.DeleteFunc(c.Listed, hits)
	}
	name := o.line
	if name == "" {
		name = fingerprintList(o.ids)
	}
	ch := change{summary: "revoked " + name}
	noun, old := c.Kind.Noun(), c.Current.Fingerprint()
	switch {
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
		return refuse("%s is the current %s and none is staged to take its place; stage one first, and then revoke, or refuse every request from now on with --force", old, noun)
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
	return o.slot == slotCurrent && nextIsCurrent(c) && len(c.Revoked) > 0 && o.expect != c.Current.Fingerprint()
}

// wording returns how the ID that was named is written, unless as hex digits.
func (o options) wording() map[rotation.ID]string {
	if o.line == "" {
		return nil
	}
	return map[rotation.ID]string{o.ids[0]: o.line}
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
	case c.IsDeclared(id) || slices.ContainsFunc(c.Declared(), content.Content{Revoked: []rotation.ID{id}}.Refuses):
		return refuse("%s is revoked and still declared, so forgetting the revocation would let it in again; replace the %s first", fingerprint, c.Kind.Noun())
	}
	c.Revoked = withoutID(c.Revoked, id)
	c.Unrevoked = withoutID(c.Unrevoked, id) // agents that remember the revocation would obey it now
	return done(c, "forgot that %s was revoked", fingerprint)
}

// unrevoke moves a revocation to the list of lifted ones. That list drops its oldest
// entries: an agent that never saw one goes on refusing, which is safe.
func unrevoke(c content.Content, o options) (change, error) {
	if c.NoDigests {
		return refuse("a key set that is a file has no place for revocations, so there is none to lift")
	}
	id := o.ids[0]
	if !c.IsRevoked(id) && slices.Contains(c.Unrevoked, id) {
		return done(c, "%s is already unrevoked", verify.Fingerprint(id))
	}
	c.Revoked = withoutID(c.Revoked, id)
	c.Unrevoked = append(withoutID(c.Unrevoked, id), id)
	c.Unrevoked = c.Unrevoked[max(len(c.Unrevoked)-maxRevoked, 0):]
	c.Wording = o.wording()
	ch, err := done(c, "%s is no longer revoked", verify.Fingerprint(id))
	if o.line == "" && !c.IsDeclared(id) {
		ch.summary += "; it is in no slot, so stage it with --from where it is to be accepted again"
	}
	return ch, err
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
