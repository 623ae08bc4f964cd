package rotate

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
)

// Command returns the command rotate with its steps.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate a token or verification key at its source, in steps that can be repeated",
		Long: `rotate changes the source at PATH: a file of lines, or a directory of keys. Without
PATH it is a filter for a Kubernetes Secret as JSON. It shows fingerprints, never a
token; the Secret that the filter passes on is the one exception. Sources of keys
that verify signed tokens (key, jwks.json, a key set that is a file) rotate by the
same steps. A List of Secrets, those of several namespaces, gets one token for all.

The filter leaves out the annotation of kubectl apply, since the next apply would
delete what a rotation has put in; it warns of every tool that keeps the Secret.

A rotation, in order:
  stage    publish a new token to receivers as the next one; senders keep theirs
           ... wait until every receiver has it: up to 90 s for mounted Secrets
  promote  make it the current one, which senders send; the old one stays
           accepted until its deadline
           ... wait until no sender uses the old one
  retire   clear the old one away
If one has leaked: stage, promote and revoke it at once, or revoke --slot current
where one is staged. unrevoke lifts what was revoked by mistake.

Each step that finds its work done changes nothing and ends with exit code 0. Steps
out of order are refused, with exit code 1. A file is replaced in one step; the keys of
a directory one after the other, so that old and new are accepted in between. Nobody's
change is overwritten; owner and mode stay. A file with an access control list or
SELinux label of its own is refused. On failure the source declares what it did before,
and no Secret is put out; a directory of which some keys are replaced says so.`,
		Example: `  tokenagent rotate stage /etc/app/token
  kubectl get secret app-api-token -o json | tokenagent rotate stage | kubectl replace -f -
  kubectl get secrets -A -l tokenagent/group=app -o json | tokenagent rotate stage | kubectl replace -f -
  tokenagent rotate promote --agent http://10.0.0.1:9464 --agent http://10.0.0.2:9464 --wait 2m /etc/app/token`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_ = cmd.Help()
				return fail.Usage("a step is missing: stage, promote, retire, revoke, unrevoke, now or status")
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + near[0] + "?"
			}
			return fail.Usage("rotate has no step of that name%s", hint)
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(stageCommand(), promoteCommand(), retireCommand(), revokeCommand(), unrevokeCommand(), nowCommand(), statusCommand())
	return cmd
}

// ungated is a step that waits for no agent and makes no token.
type ungated struct{}

func (ungated) pass(context.Context, content.Content, content.Content) error { return nil }
func (ungated) made() content.Credential                                     { return content.Credential{} }

type stageStep struct {
	ungated
	stageFlags
}

func (s *stageStep) prepare(ctx context.Context, in input) error { return s.read(ctx, in) }
func (s *stageStep) made() content.Credential                    { return s.stageFlags.made() }
func (s *stageStep) meet(ctx context.Context, all []content.Content, o content.Options) error {
	return s.stageFlags.meet(ctx, all, o)
}

func (s *stageStep) plan(c content.Content, _ bool, _ time.Time) (change, error) {
	return s.staging().do(c)
}

func stageCommand() *cobra.Command {
	var s stageStep
	r := &run{name: "stage", step: &s}
	cmd := r.command("stage", "Publish a new token or key to receivers, before anybody sends by it",
		`stage puts a new token into slot next (token-next): 32 random bytes as generate
makes them, or the token that --from names. Receivers accept it from then on; senders
go on with the current one.

In a source of verification keys it is the public key that --from names (PEM or JWK),
which goes into key-next, or into the set with its RFC 7638 thumbprint as kid. Without
--from it makes a key of the current one's algorithm: an HMAC secret of the hash's
size, or a pair, whose private key goes into the file of --private-out.

Where one is staged already, nothing changes: the same one is kept, so that stage can
be repeated until it worked. --replace stages another one in its place. In a key set
nothing is staged: each stage that makes an HMAC secret adds one more.

All Secrets of a List get the same one: what is staged in one of them, else a new one.

To go back to an earlier token, stage it with --from and promote it.`)
	s.stageFlags.add(cmd.Flags())
	return cmd
}

type promoteStep struct {
	ungated
	promoteFlags
	gateFlags
	expectFlag
}

func (s *promoteStep) prepare(_ context.Context, in input) error {
	if err := s.promoteFlags.read(in); err != nil {
		return err
	}
	if err := s.expectFlag.read(); err != nil {
		return err
	}
	return s.gateFlags.read()
}

func (s *promoteStep) meet(_ context.Context, all []content.Content, _ content.Options) error {
	return s.promoteFlags.meet(all[0])
}

func (s *promoteStep) plan(c content.Content, onePrevious bool, now time.Time) (change, error) {
	p := s.promotion(onePrevious, now)
	p.expect = s.expect
	return p.do(c, now)
}

func (s *promoteStep) pass(ctx context.Context, _, to content.Content) error {
	if !to.Set {
		return s.Pass(ctx, gate.Loaded(print8(to.Current)))
	}
	var all []gate.Check
	for _, k := range accepted(to) {
		all = append(all, gate.Loaded(print8(k)))
	}
	return s.Pass(ctx, gate.All(all...))
}

func promoteCommand() *cobra.Command {
	var s promoteStep
	r := &run{name: "promote", step: &s}
	cmd := r.command("promote", "Make the staged token current, and the current one previous",
		`promote makes the staged token the current one, which senders send, and the old one
previous, accepted until its deadline. Do it once every receiver has the staged token:
--agent asks receivers, and refuses unless all of them accept it.

Nothing staged and a previous token with a deadline, be it one that has passed, means
that it was promoted already, and nothing changes. --expect says it exactly: the fingerprint that stage reported is promoted, or
is current already, or the step is refused.

A file can hold several previous tokens, and keeps those of earlier rotations to their
own deadlines. A directory and a Secret have room for one: while an earlier one is still
accepted, promote is refused without --drop-previous.

With --overlap 0s the old token is declared with a deadline that has passed, so that
agents refuse it at once instead of remembering it for an overlap of their own.

For verification keys --overlap must be given: longer than signers take to change to
the new key and the longest token is good for, together. Signers change after promote.
In a key set nothing changes: --agent asks whether every receiver has all its keys, so
that signers may.`)
	s.promoteFlags.add(cmd.Flags())
	s.gateFlags.add(cmd.Flags())
	s.expectFlag.add(cmd.Flags(), "promote the one with this `FINGERPRINT` or none")
	return cmd
}

type nowStep struct {
	ungated
	stageFlags
	promoteFlags
	again bool
}

func (s *nowStep) prepare(ctx context.Context, in input) error {
	if err := s.promoteFlags.read(in); err != nil {
		return err
	}
	return s.stageFlags.read(ctx, in)
}

func (s *nowStep) meet(ctx context.Context, all []content.Content, o content.Options) error {
	if all[0].Set {
		return nil // it is refused, and nothing is made for that
	}
	if err := s.promoteFlags.meet(all[0]); err != nil {
		return err
	}
	return s.stageFlags.meet(ctx, all, o)
}

func (s *nowStep) made() content.Credential { return s.stageFlags.made() }

func (s *nowStep) plan(c content.Content, onePrevious bool, now time.Time) (change, error) {
	return atOnce(c, s.staging(), s.promotion(onePrevious, now), s.again, now)
}

func nowCommand() *cobra.Command {
	var s nowStep
	r := &run{name: "now", step: &s}
	cmd := r.command("now", "Stage and promote in one, for one machine",
		`now makes a new token or key current and the old one previous with its deadline, in
one step. It is for one machine, where receivers see the change as soon as senders do;
anywhere else stage, wait and promote.

A token that is staged is the one that it promotes. Each now is a rotation of its own,
so that while the overlap of the last one is under way it is refused without --again
(in a directory or a Secret also --drop-previous, since there is room for one).`)
	s.stageFlags.add(cmd.Flags())
	s.promoteFlags.add(cmd.Flags())
	cmd.Flags().BoolVar(&s.again, "again", false, "rotate although the last rotation's overlap is under way")
	return cmd
}

func statusCommand() *cobra.Command {
	return (&run{name: "status"}).command("status", "Show the slots, their deadlines and the next step",
		`status shows what the source declares, by fingerprint, how long the old one is still
accepted, and what to do next. A Secret is read from standard input, and the report
goes to standard output.

Exit code 0 means good, 1 that the content is bad or what is current revoked. What
running agents accept is shown by tokenagent status.`)
}
