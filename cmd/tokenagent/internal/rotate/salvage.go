package rotate

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/secret"
	"github.com/tokenagent/tokenagent/pkg/rotation"
)

// A salvage is a target of which the content does not parse.
type salvage interface {
	target
	// Salvage returns what can be told of it all the same; ok is false where
	// nothing may be put in.
	Salvage() (c content.Content, ok bool)
	// Revoke makes what is to be written so that the target revokes id as well,
	// as line says where that is not "". All else keeps its bytes.
	Revoke(id rotation.ID, line string) (write func(context.Context) error, err error)
}

func (f *file) Salvage() (content.Content, bool) {
	return content.SalvageLines(f.at.Text, f.o), f.o.Kind == content.Tokens && content.Foreign(f.at.Text) == nil
}

func (f *file) Revoke(id rotation.ID, _ string) (func(context.Context) error, error) {
	text, err := content.RevokeLine(f.at.Text, id, f.o)
	return func(ctx context.Context) error { return f.at.Replace(ctx, text) }, err
}

func (d *dir) Salvage() (content.Content, bool) { return content.SalvageKeys(d.at.Keys, d.o), true }

func (d *dir) Revoke(id rotation.ID, line string) (func(context.Context) error, error) {
	edit, err := content.RevokeKey(d.at.Keys, id, line, d.o)
	return func(ctx context.Context) error { return d.at.Replace(ctx, edit) }, err
}

func (f *filter) Salvage() (content.Content, bool) {
	return content.SalvageKeys(f.doc.Secrets[0].Keys(), f.o), true
}

func (f *filter) Revoke(id rotation.ID, line string) (func(context.Context) error, error) {
	was := f.doc.Secrets[0].Keys()
	edit, err := content.RevokeKey(was, id, line, f.o)
	if err != nil {
		return nil, err
	}
	text, err := f.doc.With([]content.KeyEdit{edit})
	if err != nil {
		return nil, err
	}
	doc, err := secret.Parse(text)
	if err != nil {
		return nil, err
	}
	if !maps.EqualFunc(doc.Secrets[0].Keys(), edit.Apply(was), bytes.Equal) {
		return nil, content.ErrUnfaithful
	}
	return f.put(text), nil
}

// revokeAllTheSame revokes in a target that does not parse, for the reason fault:
// agents take revocations from it even so. Nothing else of it changes.
func (r *run) revokeAllTheSame(ctx context.Context, t salvage, s *revokeStep, fault error) error {
	have, ok := t.Salvage()
	if !ok {
		return fault
	}
	r.read.Kind = have.Kind
	id, done, err := s.salvaged(ctx, have, r.read, fault)
	if err != nil {
		return err
	}
	summary := "revoked " + s.parsed.name([]rotation.ID{id})
	write := func(context.Context) error { return nil }
	switch filter, ok := t.(*filter); {
	case !done:
		if write, err = t.Revoke(id, s.parsed.line); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
		have.Revoked = append(have.Revoked, id)
	case ok:
		text, err := filter.doc.With([]content.KeyEdit{nil})
		if err != nil {
			return err
		}
		write = filter.put(text)
	}
	if done {
		summary = "nothing changed: " + s.parsed.name([]rotation.ID{id}) + " is revoked already"
	}
	if !r.dryRun {
		if err := write(ctx); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	return r.reportSalvage(t, have, !done, summary, fault)
}

// salvaged returns what is to be revoked in a source of which no more than have
// can be told, and whether it is already.
func (s *revokeStep) salvaged(ctx context.Context, have content.Content, o content.Options, fault error) (id rotation.ID, done bool, err error) {
	named := s.digest+s.from+s.kid+s.jti != ""
	if named {
		if err := s.meet(ctx, []content.Content{have}, o); err != nil {
			return id, false, err
		}
		id = *s.parsed.digest
	}
	known := have.Current.Reveal() != ""
	switch {
	case s.forget != "":
		return id, false, fault
	case named && known && hits([]rotation.ID{id})(have.Current) && !have.IsRevoked(id) && !s.force:
		return id, false, fmt.Errorf("%w; %s is the current %s, and none can take its place before that is mended: mend it, or refuse every request from now on with --force",
			fault, print8(have.Current), have.Kind.Noun())
	case named:
	case s.parsed.slot != rotation.Current || !s.force || !known || s.expect != "" && s.expect != print8(have.Current):
		return id, false, fmt.Errorf("%w; to revoke before that is mended, say what with --digest or --from", fault)
	default:
		id = have.Current.ID()
	}
	if done = have.IsRevoked(id); !done && len(have.Revoked) >= maxRevoked {
		return id, false, fmt.Errorf("%w; %w", fault, errManyRevoked)
	}
	return id, done, nil
}

// reportSalvage tells what was done, and what is wrong.
func (r *run) reportSalvage(t target, have content.Content, changed bool, summary string, fault error) error {
	rep := tell(have, content.Credential{}, time.Now())
	if have.Current.Reveal() == "" {
		rep.Current = nil
	}
	rep.Changed, rep.DryRun, rep.Summary, rep.Fault = changed, r.dryRun, summary, fault.Error()
	rep.NextStep = "mend the source: agents go on with what they accepted before, but for what is revoked"
	rep.Warnings = append(rep.Warnings, "THE SOURCE IS BROKEN, and stays so: "+rep.Fault)
	rep.Target = t.Name()
	return r.report(r.answer(t), []*report{rep})
}
