// Package rotate is the command that rotates a token or a verification key at its
// source: in a file, in a directory, or in a Kubernetes Secret on its way from kubectl
// to kubectl. Each step is a pure function on what the source declares; see step.go.
//
// The command shows fingerprints only. It writes tokens to the source, to the Secret
// that it passes on, and a private key to a new file.
package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// readOnly reports whether the step changes nothing: it is status.
func (c command) readOnly() bool { return c.flags == nil }

// run performs the step. It writes only when nothing can be refused any more.
func (r *request) run(ctx context.Context) error {
	if err := r.checkFlags(ctx); err != nil {
		return err
	}
	t, err := store.Open(ctx, store.Options{
		Path: r.path, Kind: r.kind, Change: !r.readOnly(), Read: r.read, Stdin: r.stdin, Stdout: r.stdout, Stderr: r.stderr,
	})
	if err != nil {
		return err
	}
	sources := t.Sources()
	from, err := r.contents(sources)
	if err != nil {
		return err
	}
	r.read.Kind = from[0].Kind
	if r.prepare != nil {
		if err := r.prepare(r, from); err != nil {
			return err
		}
	}
	changes, err := r.plan(sources)
	if err != nil {
		return err
	}
	if r.ready != nil && len(r.Agents) > 0 {
		if err := r.ask(ctx, sources, changes); err != nil {
			return err
		}
		if changes, err = r.plan(sources); err != nil { // deadlines count from now
			return err
		}
	}
	to := make([]content.Content, len(changes))
	for i, ch := range changes {
		to[i] = ch.to
	}
	write, warnings, err := t.Prepare(to)
	if err != nil {
		return err
	}
	isChange := func(ch change) bool { return ch.changed }
	if !r.dryRun && !r.readOnly() && (slices.ContainsFunc(changes, isChange) || r.path == "") {
		if err := r.write(ctx, changes, write); err != nil {
			return fmt.Errorf("%s: %w", listName(sources), err)
		}
	}
	for i := range changes {
		changes[i].warnings = append(changes[i].warnings, warnings[i]...)
	}
	return r.report(sources, changes)
}

func listName(sources []store.Source) string {
	if len(sources) > 1 {
		return fmt.Sprintf("list of %d Secrets", len(sources))
	}
	return sources[0].Name
}

// contents returns what the sources declare, unless the step cannot work on it.
func (r *request) contents(sources []store.Source) (from []content.Content, err error) {
	for _, s := range sources {
		c := s.Content
		switch {
		case c.NoRoom != "" && !r.readOnly():
			return nil, fmt.Errorf("%s: %s", s.Name, c.NoRoom)
		case c.IsKeySet != sources[0].Content.IsKeySet && !r.readOnly():
			return nil, fmt.Errorf("%s: some hold a key set and others a single key; rotate them separately", listName(sources))
		}
		from = append(from, c)
	}
	return from, nil
}

// plan returns what the step makes of each source.
func (r *request) plan(sources []store.Source) ([]change, error) {
	o := r.options
	o.now = time.Now()
	o.until = r.deadline(o.now)
	changes := make([]change, len(sources))
	promoted := false
	for i, s := range sources {
		o.onePrevious = s.OnePrevious
		ch, err := apply(r.do, s.Content, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		changes[i] = ch
		promoted = promoted || ch.to.Current.ID() != s.Content.Current.ID()
	}
	// Senders in one namespace would be refused in another. To revoke may be worth that.
	text := differ(sources, changes)
	switch {
	case text == "" || !promoted && !r.readOnly():
		return changes, nil
	case promoted && r.name != "revoke":
		return nil, fmt.Errorf("%s; stage one for all of them: rotate stage --replace", text)
	case promoted && !r.force:
		return nil, fmt.Errorf("%s; stage one for all of them, rotate stage --replace, and then revoke, or revoke all the same with --force", text)
	}
	changes[0].warnings = append(changes[0].warnings, text+"; give all of them one with rotate stage and promote")
	return changes, nil
}

// differ says which source would have which current token, and "" if all would have
// the same.
func differ(sources []store.Source, changes []change) string {
	var each []string
	ids := map[rotation.ID]bool{}
	for i, ch := range changes {
		if ch.to.HasCurrent() {
			each = append(each, ch.to.Current.Fingerprint()+" in "+sources[i].Name)
			ids[ch.to.Current.ID()] = true
		}
	}
	if len(ids) < 2 {
		return ""
	}
	return "the current " + changes[0].to.Kind.Noun() + " is not the same everywhere: " + content.ShortList(each)
}

// ask holds the changes back until agents are ready for them. Agents are asked about a
// key set, too, which promote does not change: people do the rest.
func (r *request) ask(ctx context.Context, sources []store.Source, changes []change) error {
	for i, ch := range changes {
		if !ch.changed && !ch.to.IsKeySet {
			continue
		}
		if err := r.Pass(ctx, r.ready(r, sources[i].Content, ch.to)); err != nil {
			return fmt.Errorf("%s: %w", sources[i].Name, err)
		}
	}
	return nil
}

// write writes the private key that belongs to a change, and then the change: a public
// key that is staged without the private one would be of no use. If the second fails
// the private key stays, since the public one may be staged all the same.
func (r *request) write(ctx context.Context, changes []change, write func(context.Context) error) error {
	i := slices.IndexFunc(changes, func(ch change) bool { return isIn(ch.to.Declared(), r.candidate.ID()) })
	if i < 0 || r.private.Reveal() == "" {
		return write(ctx)
	}
	if err := r.writePrivate(); err != nil {
		return err
	}
	if err := write(ctx); err != nil {
		return fmt.Errorf("%w; the new private key is in %s: remove that file, unless tokenagent rotate status shows the key as next", err, r.privateOut)
	}
	changes[i].summary += "; the private key is in " + r.privateOut
	return nil
}

// report prints what the step did. Standard output of the filter is the Secret's, except
// for status.
func (r *request) report(sources []store.Source, changes []change) error {
	out := r.stdout
	if r.path == "" && !r.readOnly() {
		out = r.stderr
	}
	var hidden content.Credential // made by a dry run; nobody will see it again
	if r.dryRun && !r.given {
		hidden = r.candidate
	}
	bad := false
	reports := make([]*report, len(changes))
	for i, ch := range changes {
		rep := describe(ch.to, hidden, time.Now())
		rep.Step, rep.Target, rep.Changed, rep.DryRun, rep.Summary = r.name, sources[i].Name, ch.changed, r.dryRun, ch.summary
		if r.dryRun {
			rep.Summary = strings.ReplaceAll(rep.Summary, hidden.Fingerprint(), "a new "+rep.noun())
		}
		if !ch.changed && !r.readOnly() {
			rep.Summary = "nothing changed: " + rep.Summary
		}
		rep.Warnings = append(rep.Warnings, ch.warnings...)
		reports[i] = rep
		bad = bad || ch.bad
	}
	if err := printReports(out, r.stderr, r.output, reports); err != nil {
		return err
	}
	if bad {
		return exitcode.Refused
	}
	return nil
}
