// Package rotate is the command that rotates a token or a verification key at its
// source: in a file, in a directory, or in a Kubernetes Secret on its way from kubectl
// to kubectl. Each step is a pure function on what the source declares; see [step].
//
// The command shows fingerprints only. It writes tokens to the source, to the Secret
// that it passes on, and a private key to a new file.
package rotate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
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
		Path: r.path, Change: !r.readOnly(), Read: r.read, Stdin: r.stdin, Stdout: r.stdout, Stderr: r.stderr,
	})
	if err != nil {
		return err
	}
	sources := t.Sources()
	r.read.Kind = sources[0].Kind
	if r.readOnly() {
		return r.show(t)
	}
	for _, s := range sources {
		switch {
		case s.NoRoom != "":
			return fmt.Errorf("%s: %s", s.Name, s.NoRoom)
		case s.IsKeySet != sources[0].IsKeySet:
			return fmt.Errorf("%s: some hold a key set and others a single key; rotate them separately", listName(sources))
		case !r.takesName && !r.isForAll():
			if err := requireClient(s); err != nil {
				return err
			}
		}
	}
	if r.prepare != nil {
		if err := r.prepare(r, sources); err != nil {
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
	writes := make([][]content.Write, len(sources))
	for i, s := range sources {
		if writes[i], err = s.Edit(changes[i].to); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	for i, warnings := range t.Warnings(writes) {
		changes[i].warnings = append(changes[i].warnings, warnings...)
	}
	isChange := func(ch change) bool { return ch.changed }
	if !r.dryRun && (slices.ContainsFunc(changes, isChange) || r.path == "") {
		if err := r.save(changes, func() error { return t.Save(ctx, writes) }); err != nil {
			return fmt.Errorf("%s: %w", listName(sources), err)
		}
	}
	return r.report(sources, changes, len(sources) > 1)
}

func listName(sources []content.Source) string {
	if len(sources) > 1 {
		return fmt.Sprintf("list of %d Secrets", len(sources))
	}
	return sources[0].Name
}

// now is the time that deadlines count from.
func (r *request) now() time.Time {
	if r.at.IsZero() {
		return time.Now()
	}
	return r.at
}

// plan returns what the step makes of each source.
func (r *request) plan(sources []content.Source) ([]change, error) {
	o := r.options
	o.now = r.now()
	o.until, o.isUntilGiven = r.deadline(o.now), !r.untilTime.IsZero()
	changes := make([]change, len(sources))
	promoted, current, each := false, map[rotation.ID]bool{}, []string(nil)
	for i, s := range sources {
		ch, err := apply(r.do, s.Content, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		changes[i] = ch
		promoted = promoted || ch.to.Current.ID() != s.Current.ID()
		if ch.to.HasCurrent() {
			current[ch.to.Current.ID()] = true
			each = append(each, ch.to.Current.Fingerprint()+" in "+s.Name)
		}
	}
	if len(current) < 2 || !promoted && !r.readOnly() {
		return changes, nil
	}
	// Senders in one namespace would be refused in another. To revoke may be worth that.
	differ := fmt.Sprintf("the current %s is not the same everywhere: %s", sources[0].Kind.Noun(), content.ShortList(each))
	switch {
	case promoted && r.name != "revoke":
		return nil, fmt.Errorf("%s; stage one for all of them: rotate stage --replace", differ)
	case promoted && !r.force:
		return nil, fmt.Errorf("%s; stage one for all of them, rotate stage --replace, and then revoke, or revoke all the same with --force", differ)
	}
	changes[0].warnings = append(changes[0].warnings, differ+"; give all of them one with rotate stage and promote")
	return changes, nil
}

// ask holds the changes back until agents are ready for them. Agents are asked about a
// key set, too, which promote does not change: people do the rest.
func (r *request) ask(ctx context.Context, sources []content.Source, changes []change) error {
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

// save writes the private key that belongs to a change, and then the change: a public
// key that is staged without the private one would be of no use. If the second fails
// the private key stays, since the public one may be staged all the same.
func (r *request) save(changes []change, save func() error) error {
	i := slices.IndexFunc(changes, func(ch change) bool { return isIn(ch.to.Declared(), r.candidate.ID()) })
	if i < 0 || r.private.Reveal() == "" {
		return save()
	}
	if err := keygen.WriteNew(r.privateOut, []byte(r.private.Reveal()), 0o600); err != nil {
		return fmt.Errorf("--private-out: %w", err)
	}
	if err := save(); err != nil {
		return fmt.Errorf("%w; the new private key is in %s: remove that file, unless tokenagent rotate status shows the key as next", err, r.privateOut)
	}
	changes[i].summary += "; the private key is in " + r.privateOut
	return nil
}
