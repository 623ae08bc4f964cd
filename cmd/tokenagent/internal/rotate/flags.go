package rotate

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/generate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/place"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// fromFlags say which token is meant, by the file that holds it.
type fromFlags struct {
	from  string
	token verify.Token
}

func (f *fromFlags) add(fs *pflag.FlagSet, what string) {
	fs.StringVar(&f.from, "from", "", what+" in `FILE`, alone; - means standard input, with PATH")
}

// maxToken bounds what is read as one token, in bytes.
const maxToken = 1 << 20

// read reads the token.
func (f *fromFlags) read(ctx context.Context, in input) error {
	var text []byte
	in.parse.Name = "--from " + f.from
	switch {
	case f.from == "-" && in.path == "":
		return fail.Usage("--from - goes with PATH alone; without it, standard input is the Secret's")
	case f.from == "-":
		b, err := io.ReadAll(io.LimitReader(in.stdin, maxToken+1))
		if err != nil {
			return fmt.Errorf("--from -: reading standard input: %w", err)
		}
		text = b
	default:
		if err := place.Regular(f.from); err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		c, err := reload.File(f.from).Read(ctx, maxToken)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		text = c.Data
	}
	if len(text) > maxToken {
		return fmt.Errorf("--from %s: longer than a token can be (%d bytes)", f.from, maxToken)
	}
	c, err := content.ParseLines(text, in.parse)
	if err != nil {
		return err
	}
	if len(c.Next)+len(c.Previous)+len(c.Listed)+len(c.Revoked) > 0 {
		return fmt.Errorf("--from %s: more than one token; it must be there alone", f.from)
	}
	f.token = c.Current
	return nil
}

// stageFlags say which token to stage.
type stageFlags struct {
	fromFlags
	replace bool
}

func (f *stageFlags) add(fs *pflag.FlagSet) {
	f.fromFlags.add(fs, "stage the token")
	fs.BoolVar(&f.replace, "replace", false, "put it in the place of another token that is staged")
}

func (f *stageFlags) read(ctx context.Context, in input) error {
	if f.from == "" {
		f.token = verify.NewToken(generate.Opaque())
		return nil
	}
	return f.fromFlags.read(ctx, in)
}

func (f *stageFlags) staging() staging { return staging{f.token, f.from != "", f.replace} }

func (f *stageFlags) made() verify.Token {
	if f.from != "" {
		return verify.Token{}
	}
	return f.token
}

// promoteFlags say what becomes of the token that is superseded.
type promoteFlags struct {
	overlap      time.Duration
	until        string
	at           time.Time // of until
	dropPrevious bool
}

func (f *promoteFlags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&f.overlap, "overlap", agent.DefaultOverlap, "how long the old token stays accepted; 0s means not at all")
	fs.StringVar(&f.until, "until", "", "accept the old token until `TIME` (RFC 3339) instead")
	fs.BoolVar(&f.dropPrevious, "drop-previous", false, "refuse from now on what an earlier rotation left as previous")
}

func (f *promoteFlags) read(in input) error {
	switch {
	case f.overlap < 0:
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
type gateFlags struct{ gate.Gate }

func (f *gateFlags) add(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.Agents, "agent", nil, "`URL` of the admin port of an agent that must be ready for this, http://host:port or unix:///path; repeatable: name each agent by its own address, since a Service's reaches one of them alone")
	fs.StringVar(&f.Source, "source", "", "`NAME` of the source in the agents that is meant (default: any)")
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
	return nil
}

// expectFlag names a token by its fingerprint.
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
