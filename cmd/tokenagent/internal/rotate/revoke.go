package rotate

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxRevoked bounds the list of revocations: a Secret holds 1 MiB.
const maxRevoked = 1000

// A revocation is what revoke is asked for: a token by its slot, or by its
// digest where that is known.
type revocation struct {
	slot   rotation.Slot // where digest is not known
	digest *rotation.ID
	expect string // fingerprint of the token to revoke; "" means whichever is in slot
	force  bool
}

// do refuses a token from now on, and takes it out of its slot.
func (r revocation) do(c content.Content) (change, error) {
	ids, done, err := r.targets(c)
	if err != nil || done.summary != "" {
		return done, err
	}
	fresh := slices.DeleteFunc(slices.Clone(ids), c.IsRevoked)
	to := c.Clone()
	to.Revoked = append(to.Revoked, fresh...)
	if len(fresh) > 0 && len(to.Revoked) > maxRevoked {
		return change{}, errManyRevoked
	}
	to.Next = without(to.Next, ids...)
	to.Listed = without(to.Listed, ids...)
	to.Previous = slices.DeleteFunc(to.Previous, func(s content.Superseded) bool { return slices.Contains(ids, s.Token.ID()) })
	ch := change{summary: "revoked " + printIDs(ids)}
	if len(fresh) > 0 && slices.Contains(ids, c.Current.ID()) {
		if err := r.current(c, &to, &ch); err != nil {
			return change{}, err
		}
	}
	if to.Equal(c) {
		return unchanged(c, "%s is revoked already", printIDs(ids))
	}
	ch.to, ch.changed = to, true
	return ch, nil
}

// current settles what takes the place of the current token.
func (r revocation) current(c content.Content, to *content.Content, ch *change) error {
	switch {
	case len(to.Next) == 1 && !c.IsRevoked(to.Next[0].ID()):
		to.Current, to.Next = to.Next[0], nil
		ch.summary += "; " + print8(to.Current) + ", which was staged, is current"
	case len(to.Next) > 1:
		return fmt.Errorf("%d tokens are staged, %s, and one must take the place of the current one; leave one of them", len(to.Next), prints(to.Next))
	case !r.force:
		return fmt.Errorf("%s is the current token and none is staged to take its place; stage one first, and then revoke, or refuse every request from now on with --force", print8(c.Current))
	default:
		ch.warnings = append(ch.warnings, "the current token is revoked and none takes its place: its senders are refused; run stage and promote")
	}
	return nil
}

// targets finds the tokens that are meant. done has a summary where there is
// nothing left to do.
func (r revocation) targets(c content.Content) (ids []rotation.ID, done change, err error) {
	if r.digest != nil {
		return []rotation.ID{*r.digest}, change{}, nil
	}
	switch r.slot {
	case rotation.Current:
		ids = append(ids, c.Current.ID())
	case rotation.Next:
		for _, t := range c.Next {
			ids = append(ids, t.ID())
		}
	default:
		for _, s := range c.Previous {
			ids = append(ids, s.Token.ID())
		}
	}
	if r.expect != "" {
		return r.expected(c, ids)
	}
	if len(ids) > 0 {
		return ids, change{}, nil
	}
	if len(c.Revoked) == 0 {
		return nil, change{}, fmt.Errorf("there is no %s token to revoke; name the token with --from FILE or --digest, or another --slot", r.slot)
	}
	done, _ = unchanged(c, "there is no %s token; revoked already: %s", r.slot, printIDs(c.Revoked))
	done.warnings = []string{fmt.Sprintf("nothing was revoked now; a token that agents remember without its being declared %s is named with --from FILE or --digest", r.slot)}
	return nil, done, nil
}

// expected keeps the one token of ids that --expect names.
func (r revocation) expected(c content.Content, ids []rotation.ID) ([]rotation.ID, change, error) {
	named := func(id rotation.ID) bool { return verify.Fingerprint(id) == r.expect }
	if i := slices.IndexFunc(ids, named); i >= 0 {
		return ids[i : i+1], change{}, nil
	}
	if slices.ContainsFunc(c.Revoked, named) {
		done, _ := unchanged(c, "%s is revoked already", r.expect)
		return nil, done, nil
	}
	return nil, change{}, fmt.Errorf("there is no %s token %s, as --expect says; look at tokenagent rotate status", r.slot, r.expect)
}

// forget takes a digest out of the list, where that revives nothing.
func forget(c content.Content, id rotation.ID) (change, error) {
	if !c.IsRevoked(id) {
		return unchanged(c, "%s is not revoked; nothing to forget", verify.Fingerprint(id))
	}
	declared := append(slices.Concat(c.Next, c.Listed), c.Current)
	for _, s := range c.Previous {
		declared = append(declared, s.Token)
	}
	if slices.ContainsFunc(declared, func(t verify.Token) bool { return t.ID() == id }) {
		return refuse("%s is revoked and still declared, so that to forget it would let it in again; replace the token first", verify.Fingerprint(id))
	}
	to := c.Clone()
	to.Revoked = slices.DeleteFunc(to.Revoked, func(r rotation.ID) bool { return r == id })
	return change{to: to, changed: true, summary: "forgot that " + verify.Fingerprint(id) + " was revoked"}, nil
}

func printIDs(ids []rotation.ID) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = verify.Fingerprint(id)
	}
	return strings.Join(out, ", ")
}

// parseDigest reads 64 hex digits.
func parseDigest(text string) (id rotation.ID, ok bool) {
	if len(text) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}
