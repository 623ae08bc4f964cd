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

	"github.com/tokenagent/tokenagent/agent"
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
	output, kind     string
	dryRun           bool
	read             content.Options
	from, privateOut string
	overlap, idle    time.Duration
	untilFlag        string
	digest, kid, jti string
	fingerprint      string // of the revocation to lift
	forgetFlag       string
	secure           statusclient.TLS

	fromText  token.Token // content of the file of --from
	untilTime time.Time   // of --until
	private   token.Token // private key of a pair that was made, as PEM; reveals "" for none
}

// unset is a duration that neither a flag nor the environment sets.
const unset = time.Duration(math.MinInt64)

const (
	formText = "text"
	formJSON = "json"
)

func (r *request) addFlags(f *pflag.FlagSet) {
	f.StringVar(&r.output, "output", formText, "`FORM` of the report: text or json; without PATH it goes to standard error")
	f.StringVar(&r.kind, "kind", "", "`KIND` to rotate where there are both: tokens or keys")
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

func (r *request) addOverlap(f *pflag.FlagSet) {
	f.DurationVar(&r.overlap, "overlap", unset, "how long the old one stays accepted; 0s means not at all; must be given for verification keys")
	f.Lookup("overlap").DefValue = agent.DefaultOverlap.String()
	f.StringVar(&r.untilFlag, "until", "", "accept the old one until `TIME` (RFC 3339) instead")
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
	f.StringVar(&r.slot, "slot", slotPrevious, "take out what is in `SLOT`: previous or next")
	f.StringVar(&r.key, "key", "", "of a key set: take out the key with this `KID` (any of its names), fingerprint or thumbprint")
}

func (r *request) addRevoke(f *pflag.FlagSet) {
	r.addFrom(f, "revoke the token or key")
	r.addExpect(f, "revoke")
	f.StringVar(&r.slot, "slot", slotPrevious, "revoke what is in `SLOT`: previous, next or current")
	f.StringVar(&r.digest, "digest", "", "revoke the token with this SHA-256, in `HEX`, or the key with this thumbprint, in hex or base64url")
	f.StringVar(&r.kid, "kid", "", "revoke every verification key, and every signed token, of this `NAME`")
	f.StringVar(&r.jti, "jti", "", "revoke the signed token with this `ID`")
	f.StringVar(&r.forgetFlag, "forget", "", "instead of revoking, remove this SHA-256, in `HEX`, or another revocation from the list")
	f.BoolVar(&r.force, "force", false, "revoke the current one even if none is staged to take its place, or not the same one in all Secrets of a List")
}

func (r *request) addUnrevoke(f *pflag.FlagSet) {
	r.addFrom(f, "lift the revocation of the token or key")
	f.StringVar(&r.digest, "digest", "", "lift the revocation of the token with this SHA-256, in `HEX`, or of the key with this thumbprint, in hex or base64url")
	f.StringVar(&r.fingerprint, "fingerprint", "", "lift the revocation in the source that has this `FINGERPRINT`, 8 hex digits")
	f.StringVar(&r.kid, "kid", "", "lift the revocation of every verification key with this `NAME`, and of every signed token that names it")
	f.StringVar(&r.jti, "jti", "", "lift the revocation of the signed token with this `ID`")
}

// checkFlags refuses flags that are wrong whatever the source declares, and reads the
// file of --from.
func (r *request) checkFlags(ctx context.Context) (err error) {
	r.expect, r.fingerprint = strings.ToLower(r.expect), strings.ToLower(r.fingerprint)
	r.forget = r.forgetFlag != ""
	named := r.named()
	switch {
	case r.output != formText && r.output != formJSON:
		return exitcode.Usage("--output must be text or json")
	case r.read.MinTokenBytes < 1:
		return exitcode.Usage("--min-token-bytes must be at least 1")
	case r.kind != "" && r.kind != content.Tokens.String() && r.kind != content.Keys.String():
		return exitcode.Usage("--kind must be tokens or keys")
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
	flags := []string{r.from, r.digest, r.fingerprint, r.kid, r.jti, r.forgetFlag}
	return len(slices.DeleteFunc(flags, func(f string) bool { return f == "" }))
}

func isFingerprint(text string) bool {
	return len(text) == 8 && strings.Trim(text, "0123456789abcdef") == ""
}

// parseID sets r.id to what --digest, --kid, --jti or --forget names.
func (r *request) parseID() error {
	var id rotation.ID
	var ok bool
	switch {
	case r.digest != "":
		if id, ok = parseDigest(r.digest); !ok {
			return exitcode.Usage("--digest must be the SHA-256 of the token: 64 hex digits, as from printf %%s \"$TOKEN\" | sha256sum; or the thumbprint of the key")
		}
	case r.forget:
		if id, ok = parseDigest(r.forgetFlag); !ok {
			id, ok = content.Revocation(r.forgetFlag, content.Keys)
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
	r.id = &id
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
