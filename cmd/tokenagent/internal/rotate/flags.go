package rotate

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A request is one step on one source, as the command line asks for it.
type request struct {
	command
	options // completed by prepare
	gate.Gate

	path           string // "" for a filter
	changed        func(flag string) bool
	stdin          io.Reader
	stdout, stderr io.Writer

	// Flags. Those that a step does not have keep their defaults.
	output           string
	dryRun           bool
	read             content.Options
	from, privateOut string
	overlap, idle    time.Duration
	untilFlag        string
	digest, kid, jti string
	fingerprint      string // of the revocation to lift
	secure           statusclient.TLS

	fromText  token.Token // content of the file of --from
	untilTime time.Time   // of --until
	private   token.Token // private key of a pair that was made, as PEM; reveals "" for none

	at time.Time // that deadlines count from; zero means now
}

// unset is a duration that neither a flag nor the environment sets.
const unset = time.Duration(math.MinInt64)

func (r *request) addFlags(f *pflag.FlagSet) {
	choice.Add(f, &r.output, "output", "`FORM` of the report: text or json; without PATH it goes to standard error", "text", choice.JSON)
	f.StringVar((*string)(&r.read.Kind), "kind", "", "`KIND` to rotate where there are both: tokens or keys")
	if !r.takesName {
		f.StringVar(&r.read.Client, "client", "", "`NAME` of the client whose tokens the step is about (default: the tokens without a name)")
	}
	f.StringVar(&r.read.Algorithm, "key-algorithm", "", "`ALG` of verification keys that name none, as the agents have it (default: RS256, HS256, or that of the curve)")
	f.IntVar(&r.read.MinTokenBytes, "min-token-bytes", token.DefaultMinBytes, "shortest token that is accepted, in bytes")
	if r.flags != nil {
		f.BoolVar(&r.dryRun, "dry-run", false, "say what would be done, and write nothing; without PATH standard output stays empty")
		r.flags(r, f)
	}
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

// checkFlags refuses flags that are wrong whatever the source declares, and reads the
// file of --from.
func (r *request) checkFlags(ctx context.Context) (err error) {
	r.expect, r.fingerprint = strings.ToLower(r.expect), strings.ToLower(r.fingerprint)
	named := r.named()
	switch {
	case r.read.MinTokenBytes < 1:
		return exitcode.Usage("--min-token-bytes must be at least 1")
	case r.read.Kind != "" && r.read.Kind != content.Tokens && r.read.Kind != content.Keys:
		return exitcode.Usage("--kind must be tokens or keys")
	case r.takesName && r.read.Client == "":
		return exitcode.Usage("NAME, the name of the client, is missing")
	case r.takesName && !rotation.ValidClient(r.read.Client):
		return exitcode.Usage("NAME: " + rotation.ClientRule)
	case r.read.Client != "" && !rotation.ValidClient(r.read.Client):
		return exitcode.Usage("--client: " + rotation.ClientRule)
	case r.read.Algorithm != "" && !slices.Contains(jwt.Algorithms(), r.read.Algorithm):
		return exitcode.Usage("--key-algorithm must be one of %s", strings.Join(jwt.Algorithms(), ", "))
	case r.overlap < 0 && r.overlap != unset:
		return exitcode.Usage("--overlap must not be negative; 0s means none")
	case r.changed("overlap") && r.changed("until"):
		return exitcode.Usage("--overlap and --until are both set; give one")
	case r.expect != "" && !isFingerprint(r.expect):
		return exitcode.Usage("--expect must be a fingerprint: 8 hex digits, as tokenagent rotate status shows them")
	case r.fingerprint != "" && !isFingerprint(r.fingerprint):
		return exitcode.Usage("--fingerprint must be 8 hex digits, as tokenagent rotate status shows them")
	case r.Wait < 0:
		return exitcode.Usage("--wait must not be negative; 0s asks once")
	case r.idle <= 0 && r.idle != unset:
		return exitcode.Usage("--idle must be positive")
	case r.name == "retire" && r.slot != slotPrevious && r.slot != slotNext:
		return exitcode.Usage("--slot must be previous or next; senders send the current one, which promote replaces")
	case r.name == "revoke" && r.slot != slotPrevious && r.slot != slotNext && r.slot != slotCurrent:
		return exitcode.Usage("--slot must be previous, next or current")
	case named > 1 || named == 1 && r.changed("slot"):
		return exitcode.Usage("give only one of --slot, --from, --digest, --fingerprint, --kid, --jti and --forget")
	case named > 0 && r.expect != "":
		return exitcode.Usage("--expect goes with --slot; the other flags name what is meant already")
	case r.from != "" && r.privateOut != "":
		return exitcode.Usage("--from and --private-out are both set; --from stages an existing key, and --private-out makes a new one")
	case r.from == "-" && r.path == "":
		return exitcode.Usage("--from - needs PATH; without PATH, standard input is the Secret")
	case r.name == "unrevoke" && named == 0 && r.path == "":
		return exitcode.Usage("name the revocation to lift with --digest, --fingerprint or --from FILE; standard input is the Secret")
	case r.name == "unrevoke" && named == 0:
		r.from = "-"
	}
	if named > 0 {
		r.slot = ""
	}
	if r.untilFlag != "" && !r.changed("overlap") {
		if r.untilTime, err = time.Parse(time.RFC3339, r.untilFlag); err != nil {
			return exitcode.Usage("--until is no RFC 3339 time; write it as 2006-01-02T15:04:05Z")
		}
		if !r.untilTime.After(time.Now()) {
			return exitcode.Usage("--until has passed; --overlap 0s refuses the old token at once")
		}
	}
	for _, url := range r.Agents {
		if err := statusclient.Check(url); err != nil {
			return exitcode.Usage("--agent %w", err)
		}
	}
	client, err := r.secure.Client()
	if err != nil {
		return err
	}
	r.Ask = client.Ask
	if err := r.parseID(); err != nil || r.from == "" {
		return err
	}
	return r.readFrom(ctx)
}

// named returns how many flags name a token, a key or a revocation, --slot apart.
func (r *request) named() int {
	flags := []string{r.from, r.digest, r.fingerprint, r.kid, r.jti, r.forget}
	return len(slices.DeleteFunc(flags, func(f string) bool { return f == "" }))
}

func isFingerprint(text string) bool {
	return len(text) == 8 && strings.Trim(text, "0123456789abcdef") == ""
}

// parseID sets r.ids to what --digest, --kid, --jti or --forget names.
func (r *request) parseID() error {
	var id rotation.ID
	var ok bool
	switch {
	case r.digest != "":
		if id, ok = parseDigest(r.digest); !ok {
			return exitcode.Usage("--digest must be the SHA-256 of the token: 64 hex digits, as from printf %%s \"$TOKEN\" | sha256sum; or the thumbprint of the key")
		}
	case r.forget != "":
		if id, ok = parseDigest(r.forget); !ok {
			id, ok = content.Revocation(r.forget, content.Keys)
		}
		if !ok {
			return exitcode.Usage("--forget must be a SHA-256: 64 hex digits; of keys also a thumbprint in base64url, kid NAME or jti ID")
		}
	case r.kid != "":
		id, r.line = verify.RevokedKeyID(r.kid), "kid "+r.kid
	case r.jti != "":
		id, r.line = verify.RevokedTokenID(r.jti), "jti "+r.jti
	default:
		return nil
	}
	if r.line != "" {
		// The list of revocations has lines, and no white space around a name.
		if listed, ok := content.Revocation(r.line, content.Keys); !ok || listed != id || strings.ContainsFunc(r.line, unicode.IsControl) {
			return exitcode.Usage("--%s must be a name on one line, without white space around it; name the token or the key by --digest", r.line[:3])
		}
	}
	r.ids = []rotation.ID{id}
	return nil
}

// maxToken bounds what is read as one token or key, in bytes.
const maxToken = 1 << 20

func (r *request) readFrom(ctx context.Context) (err error) {
	var text []byte
	if r.from == "-" {
		text, err = stdin.Read(ctx, r.stdin, r.stderr, "a token or key", maxToken)
	} else if text, err = store.ReadFrom(ctx, r.from, maxToken); err != nil {
		err = fmt.Errorf("--from: %w", err)
	}
	if err == nil && len(text) > maxToken {
		err = fmt.Errorf("--from %s: longer than a token or a key can be (%d bytes)", r.from, maxToken)
	}
	r.fromText = token.New(string(text))
	return err
}
