package rotate

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/rotation"
)

type revokeStep struct {
	ungated
	fromFlags
	expectFlag
	slot, digest, forget string
	force                bool

	parsed  revocation
	forgets rotation.ID
}

func (s *revokeStep) prepare(ctx context.Context, in input) error {
	given := 0
	for _, on := range []bool{in.changed("slot"), s.digest != "", s.from != "", s.forget != ""} {
		if on {
			given++
		}
	}
	if given > 1 {
		return fail.Usage("of --slot, --digest, --from and --forget one is meant")
	}
	if err := s.expectFlag.read(); err != nil {
		return err
	}
	var ok bool
	switch {
	case s.forget != "":
		if s.forgets, ok = parseDigest(s.forget); !ok {
			return fail.Usage("--forget must be a SHA-256: 64 hex digits")
		}
		return nil
	case s.digest != "":
		id, ok := parseDigest(s.digest)
		if !ok {
			return fail.Usage("--digest must be the SHA-256 of the token: 64 hex digits, as from printf %%s \"$TOKEN\" | sha256sum")
		}
		s.parsed.digest = &id
	case s.from != "":
		if err := s.fromFlags.read(ctx, in); err != nil {
			return err
		}
		id := s.token.ID()
		s.parsed.digest = &id
	}
	if s.expect != "" && s.parsed.digest != nil {
		return fail.Usage("--expect goes with --slot; --digest and --from name one token already")
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
	cmd := r.command("revoke", "Refuse a token from now on, whatever window it is in",
		`revoke puts the SHA-256 of a token into the list of revocations and takes the token
out of its slot: the previous one by default, that of --slot, or the one that --from or
--digest names. Agents refuse it as soon as they have read that.

To revoke the current token, stage another first: it takes its place in the same step.
Without one, revoke is refused unless --force is given, and then every sender of the
current token is refused until stage and promote are done.

After --slot current the slot holds another token: repeat such a command with --expect
and the fingerprint that was meant. --digest and --from can be repeated as they are.

The list holds 1000 at most. --forget takes out what nobody accepts any more, however
old the agents' memory: once the longest overlap is over.`)
	s.fromFlags.add(cmd.Flags(), "revoke the token")
	s.expectFlag.add(cmd.Flags(), "revoke the token with this `FINGERPRINT` or none")
	f := cmd.Flags()
	f.StringVar(&s.slot, "slot", "previous", "revoke the token in `SLOT`: previous, next or current")
	f.StringVar(&s.digest, "digest", "", "revoke the token with this SHA-256, in `HEX`")
	f.StringVar(&s.forget, "forget", "", "take this SHA-256, in `HEX`, out of the list instead")
	f.BoolVar(&s.force, "force", false, "revoke the current token even if none is staged to take its place")
	return cmd
}
