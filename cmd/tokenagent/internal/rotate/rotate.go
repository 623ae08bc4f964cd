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
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/pkg/rotation"
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
	// meet refuses flags that do not go with what all sources declare, which o says
	// how to read, and makes what the flags ask for: once, for all of them.
	meet(ctx context.Context, all []content.Content, o content.Options) error
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
	stderr  io.Writer
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
	t, err := store.Open(ctx, store.Options{
		Path: path, Kind: r.kind, Change: r.step != nil, Read: r.read, Stdin: r.stdin, Stdout: r.stdout, Stderr: r.stderr,
	})
	if err != nil {
		return err
	}
	sources := t.Sources()
	name := sources[0].Name
	if len(sources) > 1 {
		name = fmt.Sprintf("list of %d Secrets", len(sources))
	}
	revoke, _ := r.step.(*revokeStep)
	for _, s := range sources {
		err := s.Content.Fault
		if err != nil && revoke != nil {
			err = revoke.certain(s.Content)
		}
		if err != nil {
			return err
		}
	}
	if r.step == nil {
		return r.status(t)
	}
	from := make([]content.Content, len(sources))
	for i, s := range sources {
		if from[i] = s.Content; from[i].Fixed != "" {
			return fmt.Errorf("%s: %s", s.Name, from[i].Fixed)
		}
	}
	if slices.ContainsFunc(from, func(c content.Content) bool { return c.Set != from[0].Set }) {
		return fmt.Errorf("%s: some hold a key set and others a single key; rotate them apart", name)
	}
	r.read.Kind = from[0].Kind
	if err := r.step.meet(ctx, from, r.read); err != nil {
		return err
	}
	changes, err := r.plan(ctx, sources)
	if err != nil {
		return err
	}
	to := make([]content.Content, len(changes))
	for i, ch := range changes {
		to[i] = ch.to
	}
	write, warnings, err := t.Prepare(to)
	if err != nil {
		return err
	}
	changed := slices.ContainsFunc(changes, func(ch change) bool { return ch.changed })
	if !r.dryRun && (changed || path == "") {
		if err := commit(ctx, changes, write); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	var made content.Credential
	if r.dryRun {
		made = r.step.made()
	}
	reports := make([]*report, len(changes))
	for i, ch := range changes {
		if r.dryRun {
			ch.summary = strings.ReplaceAll(ch.summary, print8(made), "a new "+from[i].Kind.Noun())
		}
		rep := tell(ch.to, made, time.Now())
		rep.Target, rep.Changed, rep.DryRun, rep.Summary = sources[i].Name, ch.changed, r.dryRun, ch.summary
		if !ch.changed {
			rep.Summary = "nothing changed: " + ch.summary
		}
		rep.Warnings = append(append(rep.Warnings, ch.warnings...), warnings[i]...)
		reports[i] = rep
	}
	if path == "" {
		return r.report(r.stderr, reports) // standard output is the Secret's
	}
	return r.report(r.stdout, reports)
}

// plan returns what changes in each source, once agents are ready for it.
func (r *run) plan(ctx context.Context, sources []store.Source) ([]change, error) {
	once := func() ([]change, error) {
		var changes []change
		for _, s := range sources {
			ch, err := r.step.plan(s.Content, s.OnePrevious, time.Now())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			ch.settle()
			changes = append(changes, ch)
		}
		return changes, r.sameCurrent(sources, changes)
	}
	changes, err := once()
	if err != nil {
		return nil, err
	}
	again := false
	for i, ch := range changes {
		if !ch.changed && !ch.ask {
			continue
		}
		again = true
		if err := r.step.pass(ctx, sources[i].Content, ch.to); err != nil {
			return nil, fmt.Errorf("%s: %w", sources[i].Name, err)
		}
	}
	if !again {
		return changes, nil
	}
	return once() // deadlines count from now
}

// sameCurrent refuses a promotion that gives the Secrets of a list different
// tokens: senders in one namespace would be refused in another. To revoke may be
// worth that.
func (r *run) sameCurrent(sources []store.Source, changes []change) error {
	if !slices.ContainsFunc(changes, func(ch change) bool { return ch.promoted }) {
		return nil
	}
	var all []content.Content
	for _, ch := range changes {
		all = append(all, ch.to)
	}
	text := differ(sources, all)
	revoke, ok := r.step.(*revokeStep)
	switch {
	case text == "":
		return nil
	case !ok:
		return fmt.Errorf("%s; stage one for all of them: rotate stage --replace", text)
	case !revoke.force:
		return fmt.Errorf("%s; stage one for all of them, rotate stage --replace, and then revoke, or revoke all the same with --force", text)
	}
	changes[0].warnings = append(changes[0].warnings, text+"; rotate stage and promote give all of them one")
	return nil
}

// differ says which source would have which current token where they are not the
// same, and "" where they are.
func differ(sources []store.Source, contents []content.Content) string {
	var each []string
	ids := map[rotation.ID]bool{}
	for i, c := range contents {
		if c.HasCurrent() {
			each = append(each, print8(c.Current)+" in "+sources[i].Name)
			ids[c.Current.ID()] = true
		}
	}
	if len(ids) < 2 {
		return ""
	}
	return "the current " + contents[0].Kind.Noun() + " is not the same everywhere: " + content.Some(each)
}

// commit writes what changes. The private key comes first: a public one that is
// staged without it would be of no use. Where the rest fails the private key
// stays, since the public one may be staged all the same.
func commit(ctx context.Context, changes []change, write func(context.Context) error) error {
	i := slices.IndexFunc(changes, func(ch change) bool { return ch.private != nil })
	if i < 0 {
		return write(ctx)
	}
	private := changes[i].private // the same in all of them
	if err := private.create(); err != nil {
		return err
	}
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w; the private key that was made is in %s: remove that, unless tokenagent rotate status shows the key as next", err, private.path)
	}
	changes[i].summary += "; the private key is in " + private.path
	return nil
}

// status says what there is. Of a Secret too it is for standard output.
func (r *run) status(t store.Store) error {
	sources := t.Sources()
	all := make([]content.Content, len(sources))
	for i, s := range sources {
		all[i] = s.Content
	}
	_, warnings, err := t.Prepare(all)
	if err != nil {
		warnings = make([][]string, len(sources)) // nothing is to be written
	}
	if text := differ(sources, all); text != "" {
		warnings[0] = append(warnings[0], text+"; rotate stage and promote give all of them one")
	}
	bad := false
	reports := make([]*report, len(sources))
	for i, c := range all {
		rep := tell(c, content.Credential{}, time.Now())
		rep.Target = sources[i].Name
		switch {
		case c.Set && len(accepted(c)) == 0:
			bad, rep.Summary = true, "bad: every key is revoked"
		case !c.Set && c.Refuses(c.Current):
			bad, rep.Summary = true, "bad: the current "+c.Kind.Noun()+" is revoked"
		case undone(c) != "":
			rep.Summary = "good, but " + undone(c)
		default:
			rep.Summary = "good"
		}
		rep.Warnings = append(rep.Warnings, warnings[i]...)
		reports[i] = rep
	}
	if err := r.report(r.stdout, reports); err != nil {
		return err
	}
	if bad {
		return fail.Refused
	}
	return nil
}

// report puts out what there is to say of each source.
func (r *run) report(w io.Writer, reports []*report) error {
	for _, rep := range reports {
		rep.Step = r.name
		for _, text := range rep.Warnings {
			if r.output == formText {
				plain.Fprintf(r.stderr, "tokenagent: warning: %s: %s\n", rep.Target, text)
			}
		}
	}
	return printReports(w, r.output, reports)
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
				in := input{path, cmd.Flags().Changed, r.stdin, r.stderr}
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
