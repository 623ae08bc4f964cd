// Package rotate is the command that rotates a token or a verification key at its
// source, in steps of which each can be repeated: in a file, in a directory, or in
// a Kubernetes Secret on its way from kubectl to kubectl. It shows fingerprints;
// the Secret that it passes on is the one place where it puts out a token, and a
// new file the one for a private key.
package rotate

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/plain"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	formText = "text"
	formJSON = "json"
)

// A step is one of the subcommands, with the flags it was given.
type step interface {
	// prepare refuses flags that do not go together, and reads what they name.
	prepare(ctx context.Context, in input) error
	// meet refuses flags that do not go with c, which o says how to read, and
	// makes what they ask for.
	meet(ctx context.Context, c content.Content, o content.Options) error
	// plan says what to change in c. It is asked again after a wait.
	plan(c content.Content, onePrevious bool, now time.Time) (change, error)
	// pass holds the change back until agents are ready for it.
	pass(ctx context.Context, from, to content.Content) error
	// made returns the token or key that was made for this and nobody has seen,
	// else the zero Credential.
	made() content.Credential
}

// An input is what a step may look at before its target is read.
type input struct {
	path    string                 // "" for a filter
	changed func(flag string) bool // whether the command line sets it
	stdin   io.Reader
}

// A run is one step on one target.
type run struct {
	name           string
	step           step // nil for status
	output, kind   string
	dryRun         bool
	read           content.Options
	stdin          io.Reader
	stdout, stderr io.Writer
}

// do performs the step. Nothing is written before everything that can be
// refused was.
func (r *run) do(ctx context.Context, path string) error {
	t, err := r.open(ctx, path)
	if err != nil {
		revoke, ok := r.step.(*revokeStep)
		if broken, there := t.(salvage); ok && there {
			return r.revokeAllTheSame(ctx, broken, revoke, err)
		}
		return err
	}
	if r.step == nil {
		return r.status(t)
	}
	from := t.Content()
	if from.Fixed != "" {
		return fmt.Errorf("%s: %s", t.Name(), from.Fixed)
	}
	r.read.Kind = from.Kind
	if err := r.step.meet(ctx, from, r.read); err != nil {
		return err
	}
	ch, err := r.step.plan(from, t.OnePrevious(), time.Now())
	if err == nil && (ch.changed || ch.ask) {
		if err = r.step.pass(ctx, from, ch.to); err == nil {
			ch, err = r.step.plan(from, t.OnePrevious(), time.Now()) // deadlines count from now
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name(), err)
	}
	write, warnings, err := t.Prepare(ch.to)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name(), err)
	}
	if !r.dryRun && (ch.changed || path == "") {
		if err := ch.commit(ctx, write); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	var made content.Credential
	if r.dryRun {
		made = r.step.made()
		ch.summary = strings.ReplaceAll(ch.summary, print8(made), "a new "+from.Kind.Noun())
	}
	rep := tell(ch.to, made, time.Now())
	rep.Changed, rep.DryRun, rep.Summary = ch.changed, r.dryRun, ch.summary
	if !ch.changed {
		rep.Summary = "nothing changed: " + ch.summary
	}
	rep.Warnings = append(append(rep.Warnings, ch.warnings...), warnings...)
	return r.report(r.answer(t), t, rep)
}

// answer is where the report of a step goes.
func (r *run) answer(t target) io.Writer {
	if _, ok := t.(*filter); ok {
		return r.stderr // standard output is the Secret's
	}
	return r.stdout
}

// commit writes what changes. The private key comes first: a public one that is
// staged without it would be of no use. Where the rest fails it stays, since it
// may be staged all the same.
func (ch *change) commit(ctx context.Context, write func(context.Context) error) error {
	if ch.private == nil {
		return write(ctx)
	}
	if err := ch.private.create(); err != nil {
		return err
	}
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w; the private key that was made is in %s: remove that, unless tokenagent rotate status shows the key as next", err, ch.private.path)
	}
	ch.summary += "; the private key is in " + ch.private.path
	return nil
}

// status says what there is. Of a Secret too it is for standard output.
func (r *run) status(t target) error {
	c := t.Content()
	rep := tell(c, content.Credential{}, time.Now())
	rep.Summary = "good"
	bad := false
	switch {
	case c.Set && len(accepted(c)) == 0:
		bad, rep.Summary = true, "bad: every key is revoked"
	case !c.Set && c.Refuses(c.Current):
		bad, rep.Summary = true, "bad: the current "+c.Kind.Noun()+" is revoked"
	}
	if _, warnings, err := t.Prepare(t.Content()); err == nil {
		rep.Warnings = append(rep.Warnings, warnings...)
	}
	if err := r.report(r.stdout, t, rep); err != nil {
		return err
	}
	if bad {
		return fail.Refused
	}
	return nil
}

func (r *run) report(w io.Writer, t target, rep *report) error {
	rep.Step, rep.Target = r.name, t.Name()
	if r.output == formText {
		for _, text := range rep.Warnings {
			plain.Fprintf(r.stderr, "tokenagent: warning: %s: %s\n", t.Name(), text)
		}
	}
	return rep.print(w, r.output)
}

// command joins a step to the command line.
func (r *run) command(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " [PATH]", Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fail.Usage("%s takes one PATH alone; a token or key comes from a file", cmd.Name())
			case len(args) == 1 && (args[0] == "" || args[0] == "-"):
				return fail.Usage("PATH must be a file or a directory; leave it out to filter a Secret from standard input to standard output")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			r.stdin, r.stdout, r.stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if r.output != formText && r.output != formJSON {
				return fail.Usage("--output must be text or json")
			}
			switch {
			case r.read.MinTokenBytes < 1:
				return fail.Usage("--min-token-bytes must be at least 1")
			case r.kind != "" && r.kind != content.Tokens.String() && r.kind != content.Keys.String():
				return fail.Usage("--kind must be tokens or keys")
			case r.read.Algorithm != "" && !slices.Contains(verify.Algorithms(), r.read.Algorithm):
				return fail.Usage("--key-algorithm must be one of %s", strings.Join(verify.Algorithms(), ", "))
			}
			if r.step != nil {
				in := input{path, cmd.Flags().Changed, r.stdin}
				if err := r.step.prepare(cmd.Context(), in); err != nil {
					return err
				}
			}
			return r.do(cmd.Context(), path)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.output, "output", formText, "`FORM` of the report: text or json; without PATH it goes to standard error")
	f.StringVar(&r.kind, "kind", "", "`KIND` to rotate where there are both: tokens or keys")
	f.StringVar(&r.read.Algorithm, "key-algorithm", "", "`ALG` of verification keys that name none, as the agents have it (default: RS256, HS256, or that of the curve)")
	f.IntVar(&r.read.MinTokenBytes, "min-token-bytes", verify.DefaultMinTokenBytes, "shortest token that is accepted, in bytes")
	if r.step != nil {
		f.BoolVar(&r.dryRun, "dry-run", false, "say what would be done, and write nothing; without PATH standard output stays empty")
	}
	return cmd
}
