package auto

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// A write is what is to be written in one target.
type write struct {
	at     int // index of the target
	writes []content.Write
	mark   Mark
	to     content.Content
}

// stepOf is what a does in the words of the command line, the step that a target has done
// then, and the event.
func stepOf(do Do) (step string, after Phase, event string) {
	switch do {
	case Stage:
		return "stage", Staged, "staged"
	case Retire:
		return "retire", Retired, "retired"
	case Adopt:
		return "", Promoted, "adopted"
	case Extend:
		return extend, Promoted, "extended"
	default:
		return "promote", Promoted, "promoted"
	}
}

// extend is the step that changes no mark.
const extend = "extend"

// change does a step in the targets of a. A conflict ends it; then the targets are read again.
func (r *Runner) change(ctx context.Context, a Action) error {
	if time.Since(r.readAt) > readEvery && a.Do != Stage { // Secrets may have come or gone meanwhile
		r.readAt = time.Time{}
		return nil
	}
	step, after, _ := stepOf(a.Do)
	id := a.ID
	if id == "" {
		id = newID()
	}
	all, err := r.plan(step, a.At, Mark{ID: id, Step: after.String(), Since: r.place.now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	r.writing = true
	if !r.checked {
		if err := r.check(ctx, all); err != nil {
			return err
		}
	}
	if a.Do == Stage {
		if r.DryRun {
			r.report(Progress{Event: "checked", Message: fmt.Sprintf("%d targets can be rotated; nothing was written", len(all))})
			return errDone
		}
		if r.BeforeStage != nil {
			if err := r.BeforeStage(); err != nil {
				return err
			}
		}
	}
	// The first target decides which of two runs that begin at the same time goes on.
	if err := r.save(ctx, all[:1], a.Do); err != nil {
		return err
	}
	r.situation.ID = id
	if err := r.save(ctx, all[1:], a.Do); err != nil {
		return err
	}
	r.succeeded()
	return nil
}

// checkRest checks whether what comes after the restarts can be written.
func (r *Runner) checkRest(ctx context.Context) error {
	var every []int
	for i := range r.targets {
		every = append(every, i)
	}
	all, err := r.plan("", every, Mark{})
	if err != nil {
		return err
	}
	for i, w := range all {
		all[i].mark = r.targets[w.at].Mark
	}
	return r.check(ctx, all)
}

// plan returns what the step changes in the targets at. All targets of a group count for the
// step, because they share a token.
func (r *Runner) plan(step string, at []int, m Mark) (all []write, err error) {
	next := make([]content.Content, len(r.targets))
	i := 0
	for _, group := range r.groups() {
		sources := make([]content.Source, len(group))
		for j, t := range group {
			sources[j], next[i+j] = t.Source, t.Content
		}
		needed := slices.ContainsFunc(at, func(k int) bool { return k >= i && k < i+len(group) })
		if step != "" && needed {
			made, err := r.Step(step, sources, r.place.now())
			if err != nil {
				return nil, err
			}
			copy(next[i:], made)
		}
		i += len(group)
	}
	for _, i := range at {
		w := write{at: i, mark: m.with(next[i]), to: next[i]}
		if step == extend {
			w.mark = r.targets[i].Mark
		}
		if w.writes, err = r.targets[i].Edit(next[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", r.targets[i].Name, err)
		}
		all = append(all, w)
	}
	return all, nil
}

// check returns an error if a step of the rotation would fail later, or would be undone. It
// changes nothing. It is called once, before the first write of this run.
func (r *Runner) check(ctx context.Context, all []write) error {
	if err := r.sameNamespace(); err != nil {
		return err
	}
	var owned []string
	for _, w := range all {
		t := r.targets[w.at]
		is, ok := t.written.(secret)
		if !ok {
			continue
		}
		for _, owner := range is.Owners() {
			owned = append(owned, t.Name+": "+owner)
		}
		for _, text := range is.Warnings(w.writes) {
			r.report(Progress{Event: "warning", Target: t.Name, Message: text})
		}
	}
	switch {
	case len(owned) > 0 && !r.IgnoreOwner:
		return &stopped{fmt.Errorf("%s; or rotate all the same with --ignore-owner; nothing was written", strings.Join(owned[:min(len(owned), 3)], "; "))}
	case len(owned) > 0:
		r.report(Progress{Event: "warning", Message: content.ShortList(owned)})
	}
	err := each(len(all), func(i int) error {
		_, err := r.place.write(ctx, r.targets[all[i].at], all[i].writes, all[i].mark, true)
		return err
	})
	if err == nil {
		_, _, err = r.receivers(ctx)
	}
	if err == nil && len(r.Senders) > 0 {
		clear(r.complete)
		err = r.checkSenders(ctx)
	}
	r.checked = err == nil
	return err
}

// save makes the writes. A target that is written keeps what the API server made of it.
func (r *Runner) save(ctx context.Context, all []write, do Do) error {
	_, _, event := stepOf(do)
	done := make([]bool, len(all))
	err := each(len(all), func(i int) error {
		w := all[i]
		t, err := r.place.write(ctx, r.targets[w.at], w.writes, w.mark, false)
		if err == nil {
			r.targets[w.at], done[i] = t, true
			r.tell(ctx, t, w.mark, event)
		}
		return err
	})
	for i, w := range all {
		if done[i] {
			r.report(Progress{Event: event, Rotation: w.mark.ID, Target: r.targets[w.at].Name, Fingerprint: newest(w.to).Fingerprint()})
		}
	}
	return err
}

// newest returns the new token of c.
func newest(c content.Content) content.Credential {
	if len(c.Next) == 1 {
		return c.Next[0]
	}
	return c.Current
}

// tell creates an Event on a Secret. If it cannot, nothing is lost.
func (r *Runner) tell(ctx context.Context, t Target, m Mark, event string) {
	is, ok := t.written.(secret)
	if !ok {
		return
	}
	_ = r.Client.Report(ctx, is.Secret, kube.Event{
		Name:    is.Name + "." + m.ID + "." + event,
		Reason:  "Rotation" + strings.ToUpper(event[:1]) + event[1:],
		Message: fmt.Sprintf("rotation %s: %s %s", m.ID, event, newest(t.Content).Fingerprint()),
	})
}

// Abort undoes what can be undone: it takes out a staged token, or makes the old token
// current again, with the new one as the previous one. It returns what to do next.
func (r *Runner) Abort(ctx context.Context) error {
	for {
		err := r.abort(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w; run abort again", exitcode.Interrupted)
		case err == nil:
			return nil
		}
		if err = r.recover(ctx, err); err != nil {
			return err
		}
	}
}

func (r *Runner) abort(ctx context.Context) error {
	targets, err := r.place.read(ctx)
	if err != nil {
		return err
	}
	r.targets = targets
	s := Situation{Targets: r.targets, Now: r.place.now()}
	for _, t := range r.targets {
		if t.Mark.isOpen() { // an abort that was killed has been in some of them
			s.ID = strings.TrimSuffix(t.Mark.ID, undone)
		}
	}
	if s.ID == "" { // it was begun by hand
		s.ID = newID()
	}
	r.situation = s
	phases := s.phases()
	for i, t := range r.targets {
		isCut := len(t.Next) == 1 && t.Next[0].ID() == t.Current.ID() && len(t.Previous) == 1
		if t.IsReturning() || isCut { // an abort or a promotion was killed while it wrote this directory
			phases[i] = Promoted
		}
	}
	switch first, last := slices.Min(phases), slices.Max(phases); {
	case slices.Contains(phases, Retired):
		return &stopped{errors.New("the old token is retired in some targets already, and receivers refuse it; let rotate run finish, or stage the old token with rotate stage --from")}
	case last == Idle:
		r.report(Progress{Event: "finished", Message: "no rotation is under way; there is nothing to undo"})
		return nil
	case last == Staged:
		at := indices(phases, func(p Phase) bool { return p == Staged })
		return r.undo(ctx, "unstage", at, Mark{ID: s.ID, Step: aborted, Since: s.Now.UTC().Truncate(time.Second)})
	case first == Idle:
		return &stopped{fmt.Errorf("the targets are in different steps: %s; bring them to the same step by hand first", describe(s.Targets, phases))}
	}
	back := Mark{ID: s.ID + undone, Step: Promoted.String(), Since: s.Now.UTC().Truncate(time.Second)}
	var at []int
	for i, t := range r.targets {
		isTakenBack := len(t.Previous) == 1 && t.IsTakenBack(t.Previous[0].Token.ID())
		switch {
		case len(t.Next) == 0 && (t.Mark.ID == back.ID || isTakenBack):
			continue
		case phases[i] == Promoted && !t.IsReturning() && !isTakenBack && (len(t.Previous) != 1 || !t.Previous[0].Live(s.Now)):
			return &stopped{fmt.Errorf("%s: the old token is no longer accepted, so senders that go back to it would be refused; let rotate run finish, or stage the old token with rotate stage --from", t.Name)}
		}
		at = append(at, i)
	}
	if len(at) == 0 {
		r.report(Progress{Event: "finished", Message: "the rotation is aborted already; tokenagent rotate run restarts the senders and retires the new token"})
		return nil
	}
	// Receivers accept both tokens, so they may change places. Senders that have the new one
	// are restarted by the next run, which retires that.
	return r.undo(ctx, "return", at, back)
}

// undone is at the end of the ID of a rotation that takes another one back.
const undone = "-undone"

func (r *Runner) undo(ctx context.Context, step string, at []int, m Mark) error {
	all, err := r.plan(step, at, m)
	if err != nil {
		return err
	}
	undoOne := func(i int) error {
		t, err := r.place.write(ctx, r.targets[all[i].at], all[i].writes, all[i].mark, r.DryRun)
		if err == nil && !r.DryRun {
			r.tell(ctx, t, m, aborted)
		}
		return err
	}
	// As in change, the first target decides whether a run or this abort goes on.
	if err := undoOne(0); err != nil {
		return err
	}
	if err := each(len(all)-1, func(i int) error { return undoOne(i + 1) }); err != nil {
		return err
	}
	if r.DryRun {
		text := "would take out the staged token"
		if step == "return" {
			text = "would make the old token current again, and the new one previous until its deadline"
		}
		r.report(Progress{Event: "checked", Rotation: m.ID, Message: fmt.Sprintf("abort %s, in %d targets; nothing was written", text, len(all))})
		return nil
	}
	for _, w := range all {
		r.report(Progress{Event: aborted, Rotation: m.ID, Target: r.targets[w.at].Name, Fingerprint: w.to.Current.Fingerprint()})
	}
	text := "the staged token is taken out, and no sender has used it"
	if step == "return" {
		text = "the old token is current again, and the new one is accepted until its deadline; tokenagent rotate run restarts the senders and retires it"
	}
	r.report(Progress{Event: "finished", Message: text})
	return nil
}
