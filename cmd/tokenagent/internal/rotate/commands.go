package rotate

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
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
				return exitcode.Usage("a step is missing: stage, promote, retire, revoke, unrevoke, now or status")
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + near[0] + "?"
			}
			return exitcode.Usage("rotate has no step of that name%s", hint)
		},
		SuggestionsMinimumDistance: 2,
	}
	for _, s := range steps {
		cmd.AddCommand(newRequest(s).command())
	}
	return cmd
}

// A step is one of the subcommands. Status has no functions.
type step struct {
	name, short, long string
	// flags adds the flags of the step.
	flags func(*request, *pflag.FlagSet)
	// check refuses flags that do not go together, before the source is read; nil for
	// those of which any do.
	check func(*request) error
	// validate refuses flags that do not go with what all sources declare, and makes
	// what the flags ask for: once, for all of them.
	validate func(*request, []content.Content) error
	// plan says what to change in c. It is asked again after a wait.
	plan func(r *request, c content.Content, onePrevious bool, now time.Time) (change, error)
	// ready is what agents must pass before the change is made; nil for nothing.
	ready func(r *request, from, to content.Content) gate.Check
}

//nolint:gochecknoglobals // a table
var steps = []step{
	{
		name: "stage", short: "Publish a new token or key to receivers, before anybody sends by it",
		flags:    (*request).addStage,
		check:    (*request).checkStage,
		validate: (*request).validateStage,
		plan:     (*request).stage,
		long: `stage puts a new token into slot next (token-next): 32 random bytes as generate
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

To go back to an earlier token, stage it with --from and promote it.`,
	},
	{
		name: "promote", short: "Make the staged token current, and the current one previous",
		flags:    (*request).addPromote,
		validate: (*request).validateOverlap,
		plan:     (*request).promote,
		ready:    (*request).loaded,
		long: `promote makes the staged token the current one, which senders send, and the old one
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
that signers may.`,
	},
	{
		name: "retire", short: "End the overlap: accept nothing superseded any more",
		flags:    (*request).addRetire,
		check:    (*request).checkRetire,
		validate: (*request).validateRetire,
		plan:     (*request).retire,
		ready:    (*request).unused,
		long: `retire takes the previous token out, in a file all of them, whether their deadlines
have come or not. Receivers refuse it then. --agent asks receivers, and refuses unless
all of them have the current token and have seen no use of the old one for --idle. An
agent that started or changed less than --idle ago cannot know, and must watch longer.

The digest of what was retired goes into token-retired (in a file a line "retired",
for keys the key retired), which keeps the last 16: an agent that missed the promotion
would otherwise remember the old token for an overlap of its own.

--slot next takes the staged token out instead, and revokes nothing: stage is undone.
One that is previous as well is accepted until its deadline then, and one that the
source lists stays accepted.

A verification key is in use for as long as tokens that it signed are sent; those that
an agent knows from before count, too. From a key set --key takes a key out; agents
record no use of such keys, so wait until everything that it signed has expired.`,
	},
	{
		name: "revoke", short: "Refuse a token or key from now on, whatever window it is in",
		flags:    (*request).addRevoke,
		check:    (*request).checkRevoke,
		validate: (*request).validateRevoke,
		plan:     (*request).revoke,
		long: `revoke puts the SHA-256 of a token into the list of revocations and takes the token
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

Each Secret of a List refuses what is in the slot of any of them. They must have the
same token current afterwards, unless --force is given.

The list holds 1000 at most. --forget takes out what nobody accepts any more, however
old the agents' memory: once the longest overlap is over.`,
	},
	{
		name: "unrevoke", short: "Lift the revocation of a token or key that was revoked by mistake",
		flags:    (*request).addUnrevoke,
		check:    (*request).checkUnrevoke,
		validate: (*request).validateUnrevoke,
		plan:     (*request).unrevoke,
		long: `unrevoke takes the SHA-256 of a token out of the list of revocations and puts it
under token-unrevoked (in a file a line "unrevoked", for keys the key unrevoked). Agents
remember what was revoked, and go on refusing it until they read that.

The token is named by --digest or --from; with a PATH and without either it is read
from standard input. --fingerprint names one that the source says is revoked. Revoking
took the token out of its slot: stage it with --from where it is to be accepted again.

To revoke it once more takes it out of token-unrevoked again.`,
	},
	{
		name: "now", short: "Stage and promote in one, for one machine",
		flags:    (*request).addNow,
		check:    (*request).checkStage,
		validate: (*request).validateNow,
		plan:     (*request).now,
		long: `now makes a new token or key current and the old one previous with its deadline, in
one step. It is for one machine, where receivers see the change as soon as senders do;
anywhere else stage, wait and promote.

A token that is staged is the one that it promotes. Each now is a rotation of its own,
so that while the overlap of the last one is under way it is refused without --again
(in a directory or a Secret also --drop-previous, since there is room for one).`,
	},
	{
		name: "status", short: "Show the slots, their deadlines and the next step",
		long: `status shows what the source declares, by fingerprint, how long the old one is still
accepted, and what to do next. A Secret is read from standard input, and the report
goes to standard output.

Exit code 0 means good, 1 that the content is bad or what is current revoked. What
running agents accept is shown by tokenagent status.`,
	},
}
