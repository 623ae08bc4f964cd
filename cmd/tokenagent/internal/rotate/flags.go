package rotate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/generate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/mint"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// fromFlags say which token or key is meant, by the file that holds it.
type fromFlags struct {
	from string
	text verify.Token // what the file holds
}

func (f *fromFlags) add(fs *pflag.FlagSet, what string) {
	fs.StringVar(&f.from, "from", "", what+" in `FILE`, alone; - means standard input, with PATH")
}

// maxToken bounds what is read as one token or key, in bytes.
const maxToken = 1 << 20

// read reads the file.
func (f *fromFlags) read(ctx context.Context, in input) error {
	var text []byte
	switch {
	case f.from == "-" && in.path == "":
		return fail.Usage("--from - goes with PATH alone; without it, standard input is the Secret's")
	case f.from == "-":
		b, err := stdin.Read(ctx, in.stdin, in.stderr, "a token or key", maxToken)
		if err != nil {
			return err
		}
		text = b
	default:
		b, err := store.ReadFrom(ctx, f.from, maxToken)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		text = b
	}
	if len(text) > maxToken {
		return fmt.Errorf("--from %s: longer than a token or a key can be (%d bytes)", f.from, maxToken)
	}
	f.text = verify.NewToken(string(text))
	return nil
}

// credential returns the token or key that was read, of the kind of o.
func (f *fromFlags) credential(o content.Options) (content.Credential, error) {
	o.Name = "--from " + f.from
	text := []byte(f.text.Reveal())
	parse := content.ParseLines
	if o.Kind == content.Keys {
		parse = content.ParseKeyFile
	}
	c, err := parse(text, o)
	if err != nil {
		return content.Credential{}, err
	}
	if c.Set {
		return content.Credential{}, fmt.Errorf("--from %s: a set of keys; one key must be there alone", f.from)
	}
	if len(c.Next)+len(c.Previous)+len(c.Listed)+len(c.Revoked) > 0 {
		return content.Credential{}, fmt.Errorf("--from %s: more than one %s; it must be there alone", f.from, o.Kind.Noun())
	}
	return c.Current, nil
}

// stageFlags say which token or key to stage.
type stageFlags struct {
	fromFlags
	privateOut string
	replace    bool

	ready staging
}

func (f *stageFlags) add(fs *pflag.FlagSet) {
	f.fromFlags.add(fs, "stage the token or verification key")
	fs.StringVar(&f.privateOut, "private-out", "", "make a key pair, and put the private key into a new `FILE` (mode 0600) and nowhere else")
	fs.BoolVar(&f.replace, "replace", false, "replace a token or key that is already staged")
}

func (f *stageFlags) read(ctx context.Context, in input) error {
	switch {
	case f.from == "" && f.privateOut == "":
		return nil
	case f.privateOut == "":
		return f.fromFlags.read(ctx, in)
	case f.from != "":
		return fail.Usage("--from and --private-out are both set; stage a key that there is, or make one")
	}
	return (&privateFile{path: f.privateOut}).outside(in.path)
}

// meet reads or makes what is to be staged, once. Where one of several Secrets has
// a token staged already, that is the one for all of them: kubectl replace may have
// come through with some of them alone.
func (f *stageFlags) meet(ctx context.Context, all []content.Content, o content.Options) (err error) {
	f.ready = staging{given: f.from != "", replace: f.replace}
	c := all[0]
	staged := stagedIn(all)
	switch {
	case f.from != "":
		f.ready.token, err = f.credential(o)
		if err == nil && c.Set {
			f.ready.token, err = mint.ForSet(f.ready.token)
		}
	case len(all) > 1 && len(staged) > 1 && !f.replace:
		err = fmt.Errorf("the Secrets of the list have different %ss staged, %s; stage one for all of them with --replace", c.Kind.Noun(), prints(staged))
	case len(all) > 1 && len(staged) == 1 && !f.replace:
		f.ready.token, f.ready.given = staged[0], true
	case c.Kind == content.Keys:
		err = f.pair(ctx, all)
	case f.privateOut != "":
		err = fail.Usage("--private-out goes with verification keys; a token has no private half")
	default:
		f.ready.token = content.Token(generate.Opaque())
	}
	return err
}

// stagedIn returns each token or key once that is staged in one of all, and not
// revoked there.
func stagedIn(all []content.Content) (staged []content.Credential) {
	for _, c := range all {
		for _, t := range c.Next {
			if !c.Refuses(t) && !slices.ContainsFunc(staged, func(s content.Credential) bool { return s.ID() == t.ID() }) {
				staged = append(staged, t)
			}
		}
	}
	return staged
}

// pair makes a key like those that are there.
func (f *stageFlags) pair(ctx context.Context, all []content.Content) error {
	c := all[0]
	model, err := mint.Model(c)
	if err != nil {
		return err
	}
	alg := model.Key().Algorithm()
	switch shared := model.Key().PublicKey() == nil; {
	case shared && f.privateOut != "":
		return fail.Usage("--private-out goes with key pairs; a key for %s is one secret, which stands in the source", alg)
	case !shared && f.privateOut == "":
		return fail.Usage("a key for %s has a private half, which must go somewhere: name a new file with --private-out FILE, or stage the public key of a pair that there is, with --from FILE", alg)
	}
	file := &privateFile{path: f.privateOut}
	if f.privateOut != "" && file.exists() {
		f.ready.given = true
		f.ready.token, err = file.used(ctx, all)
		return err
	}
	made, err := mint.Like(model, c.Set)
	if err != nil {
		return err
	}
	f.ready.token = made.Public
	if file.text = made.Private; f.privateOut != "" {
		f.ready.private = file
	}
	return nil
}

func (f *stageFlags) staging() staging { return f.ready }

func (f *stageFlags) made() content.Credential {
	if f.ready.given {
		return content.Credential{}
	}
	return f.ready.token
}

// promoteFlags say what becomes of the token or key that is superseded.
type promoteFlags struct {
	overlap      time.Duration
	until        string
	at           time.Time // of until
	dropPrevious bool
}

// unset is an overlap that nobody gave, be it in the environment.
const unset = time.Duration(math.MinInt64)

func (f *promoteFlags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&f.overlap, "overlap", unset, "how long the old one stays accepted; 0s means not at all; must be given for verification keys")
	fs.Lookup("overlap").DefValue = agent.DefaultOverlap.String()
	fs.StringVar(&f.until, "until", "", "accept the old one until `TIME` (RFC 3339) instead")
	fs.BoolVar(&f.dropPrevious, "drop-previous", false, "stop accepting the previous token or key of an earlier rotation")
}

func (f *promoteFlags) read(in input) error {
	switch {
	case f.overlap < 0 && f.overlap != unset:
		return fail.Usage("--overlap must not be negative; 0s means none")
	case in.changed("overlap") && in.changed("until"):
		return fail.Usage("--overlap and --until are both set; one deadline is meant")
	case f.until == "" || in.changed("overlap"):
		return nil
	}
	var err error
	if f.at, err = time.Parse(time.RFC3339, f.until); err != nil {
		return fail.Usage("--until is no RFC 3339 time; write it as 2006-01-02T15:04:05Z")
	}
	if !f.at.After(time.Now()) {
		return fail.Usage("--until has passed; --overlap 0s refuses the old token at once")
	}
	return nil
}

// meet refuses to guess how long an old key is needed.
func (f *promoteFlags) meet(c content.Content) error {
	switch {
	case f.overlap != unset || f.until != "" || c.Set:
	case c.Kind == content.Keys:
		return fail.Usage("--overlap is missing: what the old key signed is refused when it ends; make it longer than signers take to change, and the longest token is good for, together")
	default:
		f.overlap = agent.DefaultOverlap
	}
	return nil
}

// promotion counts the deadline from now, in whole seconds: an overlap is never
// shorter than was asked for, and none is over at once. It is declared all the
// same where there is none, since an agent that sees no previous token
// remembers it for an overlap of its own.
func (f *promoteFlags) promotion(onePrevious bool, now time.Time) promotion {
	until := f.at
	if until.IsZero() {
		until = now.Add(f.overlap).Truncate(time.Second)
		if f.overlap > 0 && until.Before(now.Add(f.overlap)) {
			until = until.Add(time.Second)
		}
	}
	return promotion{until: until, dropPrevious: f.dropPrevious, onePrevious: onePrevious}
}

// gateFlags say which agents must be ready.
type gateFlags struct {
	gate.Gate
	secure statusclient.TLS
}

func (f *gateFlags) add(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.Agents, "agent", nil, "`URL` of the admin port of an agent that must be ready before the step runs: http://host:port, https://host:port or unix:///path; repeat it for each agent, with the agent's own address (a Service reaches only one of them)")
	fs.StringVar(&f.Source, "source", "", "`NAME` of the source to ask the agents about (default: any)")
	f.secure.Add(fs)
	fs.DurationVar(&f.Wait, "wait", 0, "how long to wait for the agents; 0s asks them once")
}

func (f *gateFlags) read() error {
	if f.Wait < 0 {
		return fail.Usage("--wait must not be negative; 0s asks once")
	}
	for _, url := range f.Agents {
		if err := statusclient.Check(url); err != nil {
			return fail.Usage("--agent %w", err)
		}
	}
	client, err := f.secure.Client()
	if err != nil {
		return err
	}
	f.Ask = client.Ask
	return nil
}

// expectFlag names a token or key by its fingerprint.
type expectFlag struct{ expect string }

func (f *expectFlag) add(fs *pflag.FlagSet, what string) {
	fs.StringVar(&f.expect, "expect", "", what)
}

func (f *expectFlag) read() error {
	f.expect = strings.ToLower(f.expect)
	if f.expect != "" && (len(f.expect) != 8 || strings.Trim(f.expect, "0123456789abcdef") != "") {
		return fail.Usage("--expect must be a fingerprint: 8 hex digits, as tokenagent rotate status shows them")
	}
	return nil
}
