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

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

const (
	formText = "text"
	formJSON = "json"
)

// do performs the step. Nothing is written before everything that can be
// refused was.
func (r *request) do(ctx context.Context) error {
	t, err := store.Open(ctx, store.Options{
		Path: r.path, Kind: r.kind, Change: r.plan != nil, Read: r.read, Stdin: r.stdin, Stdout: r.stdout, Stderr: r.stderr,
	})
	if err != nil {
		return err
	}
	sources := t.Sources()
	name := sources[0].Name
	if len(sources) > 1 {
		name = fmt.Sprintf("list of %d Secrets", len(sources))
	}
	for _, s := range sources {
		switch err := s.Content.Fault; {
		case err != nil && r.name == "revoke":
			return fmt.Errorf("%w; fix that first, or write the SHA-256 of the token into the list of revocations by hand: agents apply it before the rest is fixed", err)
		case err != nil:
			return err
		}
	}
	if r.plan == nil {
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
	if err := r.validate(r, from); err != nil {
		return err
	}
	changes, err := r.changes(ctx, sources)
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
	if !r.dryRun && (changed || r.path == "") {
		if err := r.commit(ctx, changes, write); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	var made content.Credential // nobody has seen it, and nobody will
	if r.dryRun && !r.given {
		made = r.token
	}
	reports := make([]*report, len(changes))
	for i, ch := range changes {
		if r.dryRun {
			ch.summary = strings.ReplaceAll(ch.summary, made.Fingerprint(), "a new "+from[i].Kind.Noun())
		}
		rep := tell(ch.to, made, time.Now())
		rep.Target, rep.Changed, rep.DryRun, rep.Summary = sources[i].Name, ch.changed, r.dryRun, ch.summary
		if !ch.changed {
			rep.Summary = "nothing changed: " + ch.summary
		}
		rep.Warnings = append(append(rep.Warnings, ch.warnings...), warnings[i]...)
		reports[i] = rep
	}
	if r.path == "" {
		return r.report(r.stderr, reports) // standard output is the Secret's
	}
	return r.report(r.stdout, reports)
}

// changes returns what changes in each source, once agents are ready for it.
func (r *request) changes(ctx context.Context, sources []store.Source) ([]change, error) {
	once := func() ([]change, error) {
		var changes []change
		for _, s := range sources {
			ch, err := r.plan(r, s.Content, s.OnePrevious, time.Now())
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
		if r.ready == nil {
			continue
		}
		if err := r.Pass(ctx, r.ready(r, sources[i].Content, ch.to)); err != nil {
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
func (r *request) sameCurrent(sources []store.Source, changes []change) error {
	if !slices.ContainsFunc(changes, func(ch change) bool { return ch.promoted }) {
		return nil
	}
	var all []content.Content
	for _, ch := range changes {
		all = append(all, ch.to)
	}
	text := differ(sources, all)
	switch {
	case text == "":
		return nil
	case r.name != "revoke":
		return fmt.Errorf("%s; stage one for all of them: rotate stage --replace", text)
	case !r.force:
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
			each = append(each, c.Current.Fingerprint()+" in "+sources[i].Name)
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
func (r *request) commit(ctx context.Context, changes []change, write func(context.Context) error) error {
	i := slices.IndexFunc(changes, func(ch change) bool { return ch.made })
	if i < 0 || r.private.Reveal() == "" {
		return write(ctx)
	}
	if err := r.writePrivate(); err != nil {
		return err
	}
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w; the private key that was made is in %s: remove that, unless tokenagent rotate status shows the key as next", err, r.privateOut)
	}
	changes[i].summary += "; the private key is in " + r.privateOut
	return nil
}

// status says what there is. Of a Secret too it is for standard output.
func (r *request) status(t store.Store) error {
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
		return exitcode.Refused
	}
	return nil
}

// report puts out what there is to say of each source.
func (r *request) report(w io.Writer, reports []*report) error {
	for _, rep := range reports {
		rep.Step = r.name
		for _, text := range rep.Warnings {
			if r.output == formText {
				termsafe.Fprintf(r.stderr, "tokenagent: warning: %s: %s\n", rep.Target, text)
			}
		}
	}
	return printReports(w, r.output, reports)
}
