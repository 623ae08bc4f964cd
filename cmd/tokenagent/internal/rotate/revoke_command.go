package rotate

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

type revokeStep struct {
	ungated
	fromFlags
	expectFlag
	slot, digest, kid, jti, forget string
	force                          bool

	slotted bool // --slot is on the command line
	parsed  revocation
	forgets rotation.ID
}

var errDigest = fail.Usage("--digest must be the SHA-256 of the token: 64 hex digits, as from printf %%s \"$TOKEN\" | sha256sum; or the thumbprint of the key")

func (s *revokeStep) prepare(ctx context.Context, in input) error {
	s.slotted = in.changed("slot")
	given := 0
	for _, on := range []bool{s.slotted, s.digest != "", s.from != "", s.kid != "", s.jti != "", s.forget != ""} {
		if on {
			given++
		}
	}
	if given > 1 {
		return fail.Usage("of --slot, --digest, --from, --kid, --jti and --forget one is meant")
	}
	if err := s.expectFlag.read(); err != nil {
		return err
	}
	if s.expect != "" && s.digest+s.from+s.kid+s.jti+s.forget != "" {
		return fail.Usage("--expect goes with --slot; the other flags name what is meant already")
	}
	s.parsed.expect, s.parsed.force = s.expect, s.force
	switch s.slot {
	case "current":
		s.parsed.slot = rotation.Current
	case "next":
		s.parsed.slot = rotation.Next
	case "previous":
		s.parsed.slot = rotation.Previous
	default:
		return fail.Usage("--slot must be previous, next or current")
	}
	switch {
	case s.digest != "":
		id, ok := parseDigest(s.digest)
		if !ok {
			return errDigest
		}
		s.parsed.digest = &id
	case s.from != "":
		return s.fromFlags.read(ctx, in)
	case s.kid != "":
		return s.named("kid", s.kid, "every key and token of that kid")
	case s.jti != "":
		return s.named("jti", s.jti, "the token with that jti")
	case s.forget != "":
		var ok bool
		if s.forgets, ok = parseDigest(s.forget); !ok {
			s.forgets, ok = content.Revocation(s.forget, content.Keys)
		}
		if !ok {
			return fail.Usage("--forget must be a SHA-256: 64 hex digits; of keys also a thumbprint in base64url, kid NAME or jti ID")
		}
	}
	return nil
}

// named revokes by a line in which a name stands.
func (s *revokeStep) named(what, name, said string) error {
	id, line, err := revokedName(what, name)
	s.parsed.digest, s.parsed.line, s.parsed.said = &id, line, said
	return err
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
		return id, "", fail.Usage("--%s must be a name that stands in one line, without white space around it; name the token or the key by --digest", what)
	}
	return id, line, nil
}

// meet holds the flags to the kind of source.
func (s *revokeStep) meet(_ context.Context, all []content.Content, o content.Options) error {
	switch c := all[0]; {
	case c.Kind == content.Tokens && s.kid+s.jti != "":
		return fail.Usage("--kid and --jti go with verification keys; name the token with --from or --digest")
	case c.Set && (s.slotted || s.digest+s.from+s.kid+s.jti+s.forget == ""):
		return fail.Usage("a key set has no slots; say what to revoke with --from, --digest, --kid or --jti")
	case s.from != "":
		v, err := s.credential(o)
		if err != nil {
			return err
		}
		id := v.ID()
		s.parsed.digest = &id
	}
	if s.forget != "" {
		return nil
	}
	ids, err := s.parsed.resolve(all)
	s.parsed.ids = ids
	return err
}

// certain returns the fault of c, which does not parse, unless what to revoke is
// certain all the same.
func (s *revokeStep) certain(c content.Content) error {
	switch named := s.digest+s.from+s.kid+s.jti != ""; {
	case s.forget != "":
		return c.Fault
	case !named && (s.parsed.slot != rotation.Current || !s.force || !c.HasCurrent() || s.expect != "" && s.expect != print8(c.Current)):
		return fmt.Errorf("%w; to revoke before that is mended, say what with --digest or --from", c.Fault)
	}
	return nil
}

func (s *revokeStep) plan(c content.Content, _ bool, _ time.Time) (change, error) {
	if s.forget != "" {
		return forget(c, s.forgets)
	}
	return s.parsed.do(c)
}

func revokeCommand() *cobra.Command {
	var s revokeStep
	r := &run{name: "revoke", step: &s}
	cmd := r.command("revoke", "Refuse a token or key from now on, whatever window it is in",
		`revoke puts the SHA-256 of a token into the list of revocations and takes the token
out of its slot: the previous one by default, that of --slot, or the one that --from or
--digest names. Agents refuse it as soon as they have read that.

To revoke the current token, stage another first: it takes its place in the same step.
Without one, revoke is refused unless --force is given, and then every sender of the
current token is refused until stage and promote are done.

After --slot current the slot holds another token: repeat such a command with --expect
and the fingerprint that was meant. --digest and --from can be repeated as they are.

A verification key is revoked by its RFC 7638 thumbprint, and everything that it
signed with it; a signed token by --jti, or by --digest with the SHA-256 of what stands
before its last dot. --kid revokes all keys and tokens of a name.

Agents take revocations from a source that is broken elsewhere, and so does revoke put
them in: what --digest or --from names, or with --force --slot current, where that can
be read. All else stays as it is; a warning says what is wrong.

Each Secret of a List refuses what is in the slot of any of them. They must have the
same token current afterwards, unless --force is given.

The list holds 1000 at most. --forget takes out what nobody accepts any more, however
old the agents' memory: once the longest overlap is over.`)
	s.fromFlags.add(cmd.Flags(), "revoke the token or key")
	s.expectFlag.add(cmd.Flags(), "revoke the one with this `FINGERPRINT` or none")
	f := cmd.Flags()
	f.StringVar(&s.slot, "slot", "previous", "revoke what is in `SLOT`: previous, next or current")
	f.StringVar(&s.digest, "digest", "", "revoke the token with this SHA-256, in `HEX`, or the key with this thumbprint, in hex or base64url")
	f.StringVar(&s.kid, "kid", "", "revoke every verification key, and every signed token, of this `NAME`")
	f.StringVar(&s.jti, "jti", "", "revoke the signed token with this `ID`")
	f.StringVar(&s.forget, "forget", "", "instead of revoking, remove this SHA-256, in `HEX`, or another revocation from the list")
	f.BoolVar(&s.force, "force", false, "revoke the current one even if none is staged to take its place, or not the same one in all Secrets of a List")
	return cmd
}
