package rotate

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
)

// A command is a step with its place on the command line.
type command struct {
	name, short, long string

	takesName bool // the first argument is the name of a client

	do step
	// flags adds the flags of the step; nil for a step that changes nothing.
	flags func(*request, *pflag.FlagSet)
	// prepare checks the flags against what all sources declare, and completes the
	// options; nil for nothing.
	prepare func(*request, []content.Source) error
	// ready is what agents must pass before a source is changed; nil for nothing.
	ready func(r *request, from, to content.Content) gate.Check
}

// Command returns the command rotate with its steps.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate a token or verification key at its source, in steps that can be repeated",
		Long: `rotate changes the source at PATH: a file of lines, or a directory of keys. Without
PATH it is a filter for a Kubernetes Secret, or a List of them, as JSON. It shows
fingerprints, never a token; the Secret that the filter passes on is the one exception.

run is a whole rotation in one command, also of Secrets in a cluster, and abort undoes one.
By hand a rotation is, in order:
  stage    publish a new token to receivers as the next one; senders keep theirs
           ... wait until every receiver has it: up to 90 s for mounted Secrets
  promote  make it the current one, which senders send; the old one stays
           accepted until its deadline
           ... wait until no sender uses the old one
  retire   clear the old one away
extend postpones the deadline.
--client limits a step to the tokens of one client; without it, a step changes only the
tokens without a name. Each client rotates alone. add-client adds a client, and
remove-client removes one.

If a token has leaked: stage and promote a new one, and revoke the old one at once. If one
is staged already, use revoke --slot current. unrevoke lifts what was revoked by mistake.

A step whose work is done changes nothing and exits with 0. A step that is out of order
is refused, with exit code 1. A step that fails leaves the source as it was, and puts out
no Secret; if it has replaced some keys of a directory, it says so: do the step again.
docs/rotation.md describes a whole rotation.`,
		Example: `  tokenagent rotate run --secret app/token --agents app/receivers --restart deployment/app
  tokenagent rotate stage /etc/app/token
  kubectl get secret app-api-token -o json | tokenagent rotate stage | kubectl replace -f -
  kubectl get secrets -A -l tokenagent/group=app -o json | tokenagent rotate stage | kubectl replace -f -
  tokenagent rotate promote --agent http://10.0.0.1:9464 --agent http://10.0.0.2:9464 --wait 2m /etc/app/token`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_ = cmd.Help()
				return exitcode.Usage("a step is missing: run, abort, stage, promote, extend, retire, revoke, unrevoke, now, add-client, remove-client or status")
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + near[0] + "?"
			}
			return exitcode.Usage("rotate has no step of that name%s", hint)
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(runCommand(), abortCommand())
	for _, c := range commands {
		cmd.AddCommand(c.cobra())
	}
	return cmd
}

func (c command) cobra() *cobra.Command {
	r := &request{command: c, overlap: unset, idle: unset}
	use := c.name + " [PATH]"
	if c.takesName {
		use = c.name + " NAME [PATH]"
	}
	cmd := &cobra.Command{
		Use: use, Short: c.short, Long: c.long,
		Args: func(cmd *cobra.Command, args []string) error {
			if c.takesName && len(args) > 0 {
				r.read.Client, args = args[0], args[1:]
			}
			switch {
			case len(args) > 1:
				return exitcode.Usage("%s takes one PATH; put a token or key into a file, and give that", cmd.Name())
			case len(args) == 1 && (args[0] == "" || args[0] == "-"):
				return exitcode.Usage("PATH must be a file or a directory; leave it out to filter a Secret from standard input to standard output")
			}
			r.path = strings.Join(args, "")
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.changed, r.stdin, r.stdout, r.stderr = cmd.Flags().Changed, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return r.run(cmd.Context())
		},
	}
	r.addFlags(cmd.Flags())
	return cmd
}

//nolint:gochecknoglobals // a table
var commands = []command{
	{
		name: "stage", short: "Publish a new token or key to receivers, before anybody sends by it",
		do: stage, flags: (*request).addStage, prepare: (*request).prepareStage,
		long: `stage puts a new token into slot next (token-next): 32 random bytes, or the token that
--from names. Receivers accept it from then on; senders go on with the current one. If
one is staged already, it is kept, unless --replace stages another. All Secrets of a List
get the same one. To go back to an earlier token, stage it with --from and promote it.

In a source of verification keys --from names a public key (PEM or JWK). Without --from,
stage makes a key of the current one's algorithm: an HMAC secret, or a pair whose private
key goes into the file of --private-out. To a key set it adds the key, with its RFC 7638
thumbprint as kid.`,
	},
	{
		name: "promote", short: "Make the staged token current, and the current one previous",
		do: promote, flags: (*request).addPromote, prepare: (*request).prepareOverlap, ready: (*request).loaded,
		long: `promote makes the staged token the current one, which senders send, and the old one
previous, accepted until its deadline. Do it once every receiver has the staged token:
--agent asks receivers, and refuses unless all of them accept it.

A file keeps the previous tokens of earlier rotations. A directory or a Secret has room
for one: while an earlier one is still accepted, promote needs --drop-previous.

For verification keys --overlap must be given: longer than signers take to change to
the new key and the longest token is good for, together. In a key set promote changes
nothing; --agent asks whether every receiver has all its keys.`,
	},
	{
		name: "extend", short: "Postpone the deadline of the previous token",
		do: extend, flags: (*request).addExtend, prepare: (*request).prepareOverlap,
		long: `extend moves the deadline of the previous token or key to --overlap from now, or to
--until: some sender is not ready yet. It never moves a deadline to an earlier time;
retire ends it. A deadline that has passed moves as well, with a warning: the token is
accepted again. Receivers have the later deadline as soon as they have read the source,
so extend a while before the earlier one: up to 90 s for mounted Secrets.`,
	},
	{
		name: "retire", short: "End the overlap: accept nothing superseded any more",
		do: retire, flags: (*request).addRetire, prepare: (*request).prepareRetire, ready: (*request).unused,
		long: `retire takes the previous token out, in a file all of them, before their deadlines, too.
--agent asks receivers, and refuses unless all of them have the current token and have
seen no use of the old one for --idle. An agent that started or changed less than --idle
ago cannot know, and must watch longer. The digest of the old token is added to
token-retired, which keeps 16 times the number of clients, for agents that missed the promotion.

--slot next takes the staged token out instead and revokes nothing, which undoes stage.
--key takes a key out of a key set; agents record no use of such keys, so wait until
everything that it signed has expired.`,
	},
	{
		name: "revoke", short: "Refuse a token or key from now on, whatever window it is in",
		do: revoke, flags: (*request).addRevoke, prepare: (*request).prepareRevoke,
		long: `revoke puts the SHA-256 of a token into the list of revocations and takes the token
out of its slot: the previous one by default, that of --slot, or the one that --from or
--digest names. Agents refuse it as soon as they have read that.

To revoke the current token, stage another first: it takes its place in the same step.
Without one, --force is needed, and every sender is refused until stage and promote are
done. --slot current means another token the next time: repeat it with --expect.

A verification key is revoked by its RFC 7638 thumbprint, and everything that it
signed with it; a signed token by --jti, or by --digest with the SHA-256 of what stands
before its last dot. --kid revokes all keys and tokens of a name.

The list holds 1000 at most. --forget takes out what nobody accepts any more, however
old the agents' memory: once the longest overlap is over.

A source that does not parse is not changed. Fix it first, or write the digest into the
list by hand: agents apply a revocation before the rest is fixed.`,
	},
	{
		name: "unrevoke", short: "Lift the revocation of a token or key that was revoked by mistake",
		do: unrevoke, flags: (*request).addUnrevoke, prepare: (*request).prepareUnrevoke,
		long: `unrevoke moves the SHA-256 of a token from the list of revocations to token-unrevoked.
Agents remember what was revoked, and go on refusing it until they read that.

The token is named by --digest or --from; with a PATH and without either it is read
from standard input. --fingerprint names one that the source says is revoked. Revoking
took the token out of its slot: stage it with --from where it is to be accepted again.`,
	},
	{
		name: "now", short: "Stage and promote in one, for one machine",
		do: now, flags: (*request).addNow, prepare: (*request).prepareNow,
		long: `now makes a new token or key, or the one that is staged, current, and the old one previous
with its deadline. It is for one machine, where receivers see the change as soon as
senders do; anywhere else stage, wait and promote. While the overlap of the last rotation
is under way, now needs --again (in a directory or a Secret also --drop-previous).`,
	},
	{
		name: "add-client", short: "Add a client with a token of its own", takesName: true,
		do: addClient, flags: (*request).addAddClient, prepare: (*request).prepareAddClient,
		long: `add-client gives the client NAME a current token: 32 random bytes, or the token that
--from names. In a file the line gets name=NAME, and in a directory or a Secret the key is
token.NAME. From then on the client rotates by itself, with --client NAME. All Secrets of
a List get the same token. It is refused if the client is there already.`,
	},
	{
		name: "remove-client", short: "Remove a client and revoke its tokens", takesName: true,
		do: removeClient, flags: (*request).addRemoveClient, prepare: (*request).prepareRemoveClient,
		long: `remove-client removes every token of the client NAME, and revokes those that are accepted.
It is refused if there is no such client, and without --force also if the source would
have no token left.`,
	},
	{
		name: "status", short: "Show the slots, their deadlines and the next step",
		do: status,
		long: `status shows what the source declares, by fingerprint, how long the old one is still
accepted, and what to do next: of each client, or of the one that --client names. Exit
code 1 means that the content is bad or what is current revoked. What running agents accept is shown by tokenagent status.`,
	},
}
