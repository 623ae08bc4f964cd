package rotate

import (
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A request is one step on one source, as the command line asks for it.
type request struct {
	step
	path           string // "" for a filter
	changed        func(flag string) bool
	stdin          io.Reader
	stdout, stderr io.Writer

	// Flags. Those that a step does not have keep their defaults.
	output, kind                        string
	dryRun                              bool
	read                                content.Options
	from, privateOut                    string
	replace, again, dropPrevious, force bool
	overlap, idle                       time.Duration
	until, expect, slot, key            string
	digest, fingerprint, kid, jti       string
	forget                              string
	gate.Gate
	secure statusclient.TLS

	// What the flags mean.
	text    token.Token        // what the file of --from holds
	token   content.Credential // to stage, where none is staged
	given   bool               // token is there already, and not made for this
	private token.Token        // the private half of token as PEM; reveals "" for none
	at      time.Time          // of --until
	id      *rotation.ID       // to revoke, to unrevoke or to forget; nil where it has to be looked up
	line    string             // how id is written; "" means as hex digits
	said    string             // what reports call id; "" means its fingerprint
	ids     []rotation.ID      // to revoke
}

// unset is a duration that nobody gave, be it in the environment.
const unset = time.Duration(math.MinInt64)

func newRequest(s step) *request { return &request{step: s, overlap: unset, idle: unset} }

// command returns the subcommand.
func (r *request) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: r.name + " [PATH]", Short: r.short, Long: r.long,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return exitcode.Usage("%s takes one PATH alone; a token or key comes from a file", cmd.Name())
			case len(args) == 1 && (args[0] == "" || args[0] == "-"):
				return exitcode.Usage("PATH must be a file or a directory; leave it out to filter a Secret from standard input to standard output")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.path = strings.Join(args, "")
			r.changed, r.stdin, r.stdout, r.stderr = cmd.Flags().Changed, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := r.checkFlags(cmd.Context()); err != nil {
				return err
			}
			return r.do(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.output, "output", formText, "`FORM` of the report: text or json; without PATH it goes to standard error")
	f.StringVar(&r.kind, "kind", "", "`KIND` to rotate where there are both: tokens or keys")
	f.StringVar(&r.read.Algorithm, "key-algorithm", "", "`ALG` of verification keys that name none, as the agents have it (default: RS256, HS256, or that of the curve)")
	f.IntVar(&r.read.MinTokenBytes, "min-token-bytes", token.DefaultMinBytes, "shortest token that is accepted, in bytes")
	if r.plan != nil {
		f.BoolVar(&r.dryRun, "dry-run", false, "say what would be done, and write nothing; without PATH standard output stays empty")
		r.flags(r, f)
	}
	return cmd
}

func (r *request) addFrom(f *pflag.FlagSet, what string) {
	f.StringVar(&r.from, "from", "", what+" in `FILE`, alone; - means standard input, with PATH")
}

func (r *request) addExpect(f *pflag.FlagSet, what string) {
	f.StringVar(&r.expect, "expect", "", what+" the one with this `FINGERPRINT` or none")
}

func (r *request) addGate(f *pflag.FlagSet) {
	f.StringSliceVar(&r.Agents, "agent", nil, "`URL` of the admin port of an agent that must be ready before the step runs: http://host:port, https://host:port or unix:///path; repeat it for each agent, with the agent's own address (a Service reaches only one of them)")
	f.StringVar(&r.Source, "source", "", "`NAME` of the source to ask the agents about (default: any)")
	r.secure.Add(f)
	f.DurationVar(&r.Wait, "wait", 0, "how long to wait for the agents; 0s asks them once")
}

func (r *request) addOverlap(f *pflag.FlagSet) {
	f.DurationVar(&r.overlap, "overlap", unset, "how long the old one stays accepted; 0s means not at all; must be given for verification keys")
	f.Lookup("overlap").DefValue = agent.DefaultOverlap.String()
	f.StringVar(&r.until, "until", "", "accept the old one until `TIME` (RFC 3339) instead")
	f.BoolVar(&r.dropPrevious, "drop-previous", false, "stop accepting the previous token or key of an earlier rotation")
}

func (r *request) addStage(f *pflag.FlagSet) {
	r.addFrom(f, "stage the token or verification key")
	f.StringVar(&r.privateOut, "private-out", "", "make a key pair, and put the private key into a new `FILE` (mode 0600) and nowhere else")
	f.BoolVar(&r.replace, "replace", false, "replace a token or key that is already staged")
}

func (r *request) addPromote(f *pflag.FlagSet) {
	r.addOverlap(f)
	r.addGate(f)
	r.addExpect(f, "promote")
}

func (r *request) addNow(f *pflag.FlagSet) {
	r.addStage(f)
	r.addOverlap(f)
	f.BoolVar(&r.again, "again", false, "rotate although the last rotation's overlap is under way")
}

func (r *request) addRetire(f *pflag.FlagSet) {
	r.addGate(f)
	f.DurationVar(&r.idle, "idle", unset, "with --agent: how long the old one must not have been used")
	f.Lookup("idle").DefValue = "15m, or half of the overlap where that is less"
	f.StringVar(&r.slot, "slot", rotation.Previous.String(), "take out what is in `SLOT`: previous or next")
	f.StringVar(&r.key, "key", "", "of a key set: take out the key with this `KID` (any of its names), fingerprint or thumbprint")
}

func (r *request) addRevoke(f *pflag.FlagSet) {
	r.addFrom(f, "revoke the token or key")
	r.addExpect(f, "revoke")
	f.StringVar(&r.slot, "slot", rotation.Previous.String(), "revoke what is in `SLOT`: previous, next or current")
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
