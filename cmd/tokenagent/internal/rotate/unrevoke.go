package rotate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxUnrevoked is how many lifted revocations are kept. Without the oldest an
// agent that never saw it goes on refusing, which is safe.
const maxUnrevoked = 1000

type unrevokeStep struct {
	ungated
	fromFlags
	fingerprint, digest, kid, jti string

	id   *rotation.ID // nil where the fingerprint has to be looked up
	line string       // how it is written; "" means as hex digits
}

func (s *unrevokeStep) prepare(ctx context.Context, in input) error {
	given := 0
	for _, text := range []string{s.from, s.fingerprint, s.digest, s.kid, s.jti} {
		if text != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return fail.Usage("of --from, --digest, --fingerprint, --kid and --jti one is meant")
	case given == 0 && in.path == "":
		return fail.Usage("say what is no longer revoked, with --digest, --fingerprint or --from FILE; standard input is the Secret's")
	case given == 0:
		s.from = "-"
	}
	switch {
	case s.from != "":
		return s.fromFlags.read(ctx, in)
	case s.fingerprint != "":
		f := expectFlag{s.fingerprint}
		if f.read() != nil {
			return fail.Usage("--fingerprint must be 8 hex digits, as tokenagent rotate status shows them")
		}
		s.fingerprint = f.expect
	case s.digest != "":
		id, ok := parseDigest(s.digest)
		if !ok {
			return errDigest
		}
		s.id = &id
	case s.kid != "":
		return s.named("kid", s.kid)
	default:
		return s.named("jti", s.jti)
	}
	return nil
}

func (s *unrevokeStep) named(what, name string) error {
	id, line, err := revokedName(what, name)
	s.id, s.line = &id, line
	return err
}

func (s *unrevokeStep) meet(_ context.Context, all []content.Content, o content.Options) error {
	if all[0].Kind == content.Tokens && s.kid+s.jti != "" {
		return fail.Usage("--kid and --jti go with verification keys; name the token with --from, --digest or --fingerprint")
	}
	if s.from == "" {
		return nil
	}
	v, err := s.credential(o)
	if err == nil {
		id := v.ID()
		s.id = &id
	}
	return err
}

func (s *unrevokeStep) plan(c content.Content, _ bool, _ time.Time) (change, error) {
	if c.Bare && c.Kind == content.Keys {
		return refuse("a key set that is a file has no place for revocations, and so none to lift")
	}
	id, err := s.find(c)
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
	if s.line != "" {
		to.Wording = map[rotation.ID]string{id: s.line}
	}
	ch := change{to: to, changed: true, summary: verify.Fingerprint(id) + " is no longer revoked"}
	if named := s.kid+s.jti != ""; !named && !isIn(c.Declared(), id) {
		ch.summary += "; it is in no slot, so stage it with --from where it is to be accepted again"
	}
	return ch, nil
}

// find returns the ID that is meant. A fingerprint names one that is in a list.
func (s *unrevokeStep) find(c content.Content) (rotation.ID, error) {
	if s.id != nil {
		return *s.id, nil
	}
	for _, list := range [][]rotation.ID{c.Revoked, c.Unrevoked} {
		var found []rotation.ID
		for _, id := range list {
			if verify.Fingerprint(id) == s.fingerprint && !slices.Contains(found, id) {
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

func unrevokeCommand() *cobra.Command {
	var s unrevokeStep
	r := &run{name: "unrevoke", step: &s}
	cmd := r.command("unrevoke", "Lift the revocation of a token or key that was revoked by mistake",
		`unrevoke takes the SHA-256 of a token out of the list of revocations and puts it
under token-unrevoked (in a file a line "unrevoked", for keys the key unrevoked). Agents
remember what was revoked, and go on refusing it until they read that.

The token is named by --digest or --from; with a PATH and without either it is read
from standard input. --fingerprint names one that the source says is revoked. Revoking
took the token out of its slot: stage it with --from where it is to be accepted again.

To revoke it once more takes it out of token-unrevoked again.`)
	s.fromFlags.add(cmd.Flags(), "lift the revocation of the token or key")
	f := cmd.Flags()
	f.StringVar(&s.digest, "digest", "", "lift the revocation of the token with this SHA-256, in `HEX`, or of the key with this thumbprint, in hex or base64url")
	f.StringVar(&s.fingerprint, "fingerprint", "", "lift the revocation in the source that has this `FINGERPRINT`, 8 hex digits")
	f.StringVar(&s.kid, "kid", "", "lift that of every verification key, and every signed token, of this `NAME`")
	f.StringVar(&s.jti, "jti", "", "lift that of the signed token with this `ID`")
	return cmd
}
