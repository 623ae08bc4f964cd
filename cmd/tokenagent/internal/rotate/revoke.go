package rotate

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxRevoked bounds the list of revocations: a Secret holds 1 MiB.
const maxRevoked = 1000

// revoke refuses a token or key from now on, and takes it out of its slot.
func (r *request) revoke(c content.Content, _ bool, _ time.Time) (change, error) {
	if r.forget != "" {
		return forget(c, *r.id)
	}
	if c.Bare && c.Kind == content.Keys {
		return refuse("a key set that is a file has no place for revocations; retire --key takes a key out at once, and a directory has the key revoked beside jwks.json")
	}
	if r.finishes(c) {
		to := c.Clone()
		to.Next = nil
		p := c.Current.Fingerprint()
		return change{
			to: to, changed: true, summary: p + " is current, and staged no more; revoked already: " + printIDs(c.Revoked),
			warnings: []string{fmt.Sprintf("the last step was cut short and is finished; %s is not revoked: if it is to be, do the step again", p)},
		}, nil
	}
	ids := r.ids
	if len(ids) == 0 {
		return r.nothingToRevoke(c)
	}
	fresh := slices.DeleteFunc(slices.Clone(ids), c.IsRevoked)
	to := c.Clone()
	to.Revoked = append(to.Revoked, fresh...)
	to.Unrevoked = slices.DeleteFunc(to.Unrevoked, func(id rotation.ID) bool { return slices.Contains(ids, id) })
	if r.line != "" {
		to.Wording = map[rotation.ID]string{ids[0]: r.line}
	}
	if len(fresh) > 0 && len(to.Revoked) > maxRevoked {
		return change{}, errManyRevoked
	}
	to.Next = slices.DeleteFunc(to.Next, hits(ids))
	to.Previous = slices.DeleteFunc(to.Previous, func(s content.Superseded) bool { return hits(ids)(s.Token) })
	ch := change{summary: "revoked " + r.called(ids)}
	var err error
	if c.Set {
		err = r.revokeInSet(c, to, &ch)
	} else {
		to.Listed = slices.DeleteFunc(to.Listed, hits(ids))
		again := slices.ContainsFunc(to.Next, func(n content.Credential) bool { return !to.Refuses(n) }) // cut short
		if c.HasCurrent() && (hits(fresh)(c.Current) || again && hits(ids)(c.Current)) {
			err = r.revokeCurrent(c, &to, &ch)
		}
	}
	if err != nil {
		return change{}, err
	}
	if to.Equal(c) {
		return unchanged(c, "%s is revoked already", r.called(ids))
	}
	ch.to, ch.changed = to, true
	return ch, nil
}

// finishes reports whether the step is one that was cut short before its last write:
// what was staged is current, and staged still. It is not what is to be revoked.
func (r *request) finishes(c content.Content) bool {
	return r.id == nil && r.slot == rotation.Current.String() && nextIsCurrent(c) && len(c.Revoked) > 0 && r.expect != c.Current.Fingerprint()
}

// hits reports whether one of ids revokes v, be it by its name.
func hits(ids []rotation.ID) func(v content.Credential) bool {
	return content.Content{Revoked: ids}.Refuses
}

func (r *request) called(ids []rotation.ID) string {
	if r.said != "" {
		return r.said
	}
	return printIDs(ids)
}

// revokeInSet leaves the keys of a set where they are: to take one out is for retire.
func (r *request) revokeInSet(c, to content.Content, ch *change) error {
	if len(accepted(to)) > 0 || len(accepted(c)) == 0 {
		return nil
	}
	if !r.force {
		return errors.New("no key of the set would be accepted any more; stage another one first, and then revoke, or refuse every request from now on with --force")
	}
	ch.warnings = append(ch.warnings, "every key of the set is revoked: all requests are refused; run stage")
	return nil
}

// revokeCurrent settles what takes the place of the current token or key.
func (r *request) revokeCurrent(c content.Content, to *content.Content, ch *change) error {
	noun := c.Kind.Noun()
	switch {
	case len(to.Next) == 1 && !c.Refuses(to.Next[0]):
		to.Current, to.Next = to.Next[0], nil
		id := to.Current.ID()
		to.Previous = slices.DeleteFunc(to.Previous, func(s content.Superseded) bool { return s.Token.ID() == id })
		to.Listed = without(to.Listed, id)
		ch.promoted = true
		ch.summary += "; " + to.Current.Fingerprint() + ", which was staged, is current"
	case len(to.Next) > 1:
		return fmt.Errorf("%d %ss are staged, %s, and one must take the place of the current one; leave one of them", len(to.Next), noun, prints(to.Next))
	case !r.force:
		return fmt.Errorf("%s is the current %s and none is staged to take its place; stage one first, and then revoke, or refuse every request from now on with --force", c.Current.Fingerprint(), noun)
	default:
		ch.warnings = append(ch.warnings, "the current "+noun+" is revoked and none takes its place: its senders are refused; run stage and promote")
	}
	return nil
}

// resolve finds what is meant, once for all: each Secret of a List is to refuse
// what is in the slot of any of them.
func (r *request) resolve(all []content.Content) (ids []rotation.ID, err error) {
	if r.id != nil {
		return []rotation.ID{*r.id}, nil
	}
	meant := func(id rotation.ID) bool { return r.expect == "" || verify.Fingerprint(id) == r.expect }
	var revoked []rotation.ID
	for _, c := range all {
		revoked = append(revoked, c.Revoked...)
		if r.finishes(c) {
			continue
		}
		for _, t := range inSlot(c, r.slot) {
			if id := t.ID(); meant(id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	noun := all[0].Kind.Noun()
	switch {
	case len(ids) > 0 || slices.ContainsFunc(revoked, meant): // what is revoked is in no slot any more
		return ids, nil
	case r.expect != "":
		return nil, fmt.Errorf("there is no %s %s %s, as --expect says; look at tokenagent rotate status", r.slot, noun, r.expect)
	}
	return nil, fmt.Errorf("there is no %s %s to revoke; name the %s with --from FILE or --digest, or another --slot", r.slot, noun, noun)
}

func inSlot(c content.Content, slot string) (in []content.Credential) {
	switch {
	case slot == rotation.Next.String():
		return c.Next
	case slot == rotation.Previous.String():
		for _, s := range c.Previous {
			in = append(in, s.Token)
		}
	case c.HasCurrent():
		in = append(in, c.Current)
	}
	return in
}

// nothingToRevoke says that what is meant is revoked already.
func (r *request) nothingToRevoke(c content.Content) (change, error) {
	if r.expect != "" {
		return unchanged(c, "%s is revoked already", r.expect)
	}
	noun := c.Kind.Noun()
	done, err := unchanged(c, "there is no %s %s; revoked already: %s", r.slot, noun, printIDs(c.Revoked))
	done.warnings = []string{fmt.Sprintf("nothing was revoked now; a %s that agents remember without its being declared %s is named with --from FILE or --digest", noun, r.slot)}
	return done, err
}

// forget takes a revocation out of the list, where that revives nothing.
func forget(c content.Content, id rotation.ID) (change, error) {
	if !c.IsRevoked(id) {
		return unchanged(c, "%s is not revoked; nothing to forget", verify.Fingerprint(id))
	}
	if slices.ContainsFunc(c.Declared(), hits([]rotation.ID{id})) {
		return refuse("%s is revoked and still declared, so that to forget it would let it in again; replace the %s first", verify.Fingerprint(id), c.Kind.Noun())
	}
	to := c.Clone()
	is := func(r rotation.ID) bool { return r == id }
	// A line that lifts it must go as well: with the revocation gone it would count.
	to.Revoked, to.Unrevoked = slices.DeleteFunc(to.Revoked, is), slices.DeleteFunc(to.Unrevoked, is)
	return change{to: to, changed: true, summary: "forgot that " + verify.Fingerprint(id) + " was revoked"}, nil
}

func printIDs(ids []rotation.ID) string { return content.Some(fingerprints(ids)) }

func fingerprints(ids []rotation.ID) (out []string) {
	for _, id := range ids {
		out = append(out, verify.Fingerprint(id))
	}
	return out
}

// parseDigest reads 64 hex digits, or 43 characters of base64url.
func parseDigest(text string) (id rotation.ID, ok bool) {
	var b []byte
	var err error
	if len(text) == hex.EncodedLen(len(id)) {
		b, err = hex.DecodeString(text)
	} else {
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	}
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return rotation.ID(b), true
}

// revokedName returns what the kid or jti name is revoked by, and the line that
// says so.
func revokedName(what, name string) (id rotation.ID, line string, err error) {
	line = what + " " + name
	want := verify.RevokedKeyID(name)
	if what == "jti" {
		want = verify.RevokedTokenID(name)
	}
	// The list has lines, and no white space around a name.
	id, ok := content.Revocation(line, content.Keys)
	if !ok || id != want || strings.ContainsFunc(name, unicode.IsControl) {
		return id, "", exitcode.Usage("--%s must be a name that stands in one line, without white space around it; name the token or the key by --digest", what)
	}
	return id, line, nil
}

// maxUnrevoked is how many lifted revocations are kept. Without the oldest an
// agent that never saw it goes on refusing, which is safe.
const maxUnrevoked = 1000

// unrevoke lifts a revocation.
func (r *request) unrevoke(c content.Content, _ bool, _ time.Time) (change, error) {
	if c.Bare && c.Kind == content.Keys {
		return refuse("a key set that is a file has no place for revocations, and so none to lift")
	}
	id, err := r.findRevoked(c)
	if err != nil {
		return change{}, err
	}
	if !c.IsRevoked(id) && slices.Contains(c.Unrevoked, id) {
		return unchanged(c, "%s is no longer revoked already", verify.Fingerprint(id))
	}
	is := func(have rotation.ID) bool { return have == id }
	to := c.Clone()
	to.Revoked = slices.DeleteFunc(to.Revoked, is)
	to.Unrevoked = append(slices.DeleteFunc(to.Unrevoked, is), id)
	to.Unrevoked = to.Unrevoked[max(len(to.Unrevoked)-maxUnrevoked, 0):]
	if r.line != "" {
		to.Wording = map[rotation.ID]string{id: r.line}
	}
	ch := change{to: to, changed: true, summary: verify.Fingerprint(id) + " is no longer revoked"}
	if named := r.kid+r.jti != ""; !named && !isIn(c.Declared(), id) {
		ch.summary += "; it is in no slot, so stage it with --from where it is to be accepted again"
	}
	return ch, nil
}

// findRevoked returns the ID that is meant. A fingerprint names one that is in a list.
func (r *request) findRevoked(c content.Content) (rotation.ID, error) {
	if r.id != nil {
		return *r.id, nil
	}
	for _, list := range [][]rotation.ID{c.Revoked, c.Unrevoked} {
		var found []rotation.ID
		for _, id := range list {
			if verify.Fingerprint(id) == r.fingerprint && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return rotation.ID{}, errors.New("several revocations have that fingerprint; name the one that is meant with --digest")
		}
	}
	return rotation.ID{}, errors.New("nothing of that fingerprint is revoked here; what agents remember and the source does not say is named with --digest or --from FILE")
}
