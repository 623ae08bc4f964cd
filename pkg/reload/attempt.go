package reload

import (
	"context"
	"errors"
	"time"
)

const (
	firstPause   = 5 * time.Millisecond   // between the two reads of a first load
	firstTimeout = 200 * time.Millisecond // for two reads in a row to agree
)

// read reads the source once. turn must be held.
func (v *Value[S]) read(ctx context.Context) (r reading) {
	if t, ok := v.src.(tracked); ok {
		r.content, r.ev, r.err = t.track(v.o.MaxBytes)
	} else {
		r.content, r.err = v.src.Read(ctx, v.o.MaxBytes)
	}
	if r.err == nil {
		r.digest(v.salt)
	}
	return r
}

// readTwice reads until two reads in a row agree, faults included: an absent
// file may be in the middle of its replacement as well. Sources whose content
// comes whole are read once. began is when the last read did.
func (v *Value[S]) readTwice(ctx context.Context) (r reading, began time.Time) {
	began = time.Now()
	r = v.read(ctx)
	_, files := v.src.(tracked)
	if v.isStatic() || v.o.Debounce < 0 || r.err != nil && !files {
		return r, began
	}
	deadline := began.Add(firstTimeout)
	for {
		pause(ctx, firstPause)
		began = time.Now()
		next := v.read(ctx)
		switch {
		case r.err == nil && next.err == nil && r.sum == next.sum,
			r.err != nil && next.err != nil && r.err.Error() == next.err.Error():
			return next, began
		case time.Now().After(deadline):
			if next.err == nil {
				next.err = unsteady(next.content.Path)
			}
			return next, began
		}
		r = next
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// An attempt ends in one of these three: fail, keep or advance.

// fail ends an attempt whose read failed.
func (v *Value[S]) fail(r reading, began time.Time) error {
	v.settle.refuse(r)
	v.mu.Lock()
	if r.content.Partial {
		v.publish(v.salvage(r.content))
	}
	news, _ := v.book.note(failed, time.Now(), r.err)
	v.mu.Unlock()
	v.observe(began)
	v.report(r.err, news, false)
	return r.err
}

// keep ends an attempt that found what was accepted before.
func (v *Value[S]) keep(r reading, began time.Time) {
	v.settle.accept(r) // the same bytes, maybe from elsewhere
	v.mu.Lock()
	_, healed := v.book.note(unchanged, time.Now(), nil)
	v.mu.Unlock()
	v.observe(began)
	v.report(nil, false, healed)
}

// observe hands on how long an attempt took.
func (v *Value[S]) observe(began time.Time) {
	if v.o.Observe != nil {
		v.o.Observe(time.Since(began))
	}
}

var errNoState = errors.New("reload: the step returned neither a state nor an error")

// advance puts settled content before the Step and publishes what comes of it.
func (v *Value[S]) advance(r reading, began time.Time) error {
	news, healed, err := v.write(r.content)
	v.observe(began)
	if err != nil {
		v.settle.refuse(r)
		v.report(err, news, false)
		return err
	}
	v.settle.accept(r)
	v.report(nil, false, healed)
	v.o.Logger.Debug("source applied")
	v.lookForFixedMount(r)
	return nil
}

// write is the one place where content becomes state. The books are closed
// under the same lock, so that who sees the state sees them too.
func (v *Value[S]) write(c Content) (news, healed bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	prev := v.state.Load()
	next, err := v.step(prev, c, time.Now())
	if err != nil && next != nil && next != prev {
		// Bad content changed the state. The good content of before, should it
		// come back, says something new then.
		v.settle.forget()
	}
	if err == nil && next == nil {
		err = errNoState
	}
	res := rejected
	if err == nil {
		res = applied
	}
	news, healed = v.book.note(res, time.Now(), err)
	v.publish(next)
	return news, healed, err
}

// salvage returns the state that comes of content of which keys could not be
// read, and nil where nothing does. mu must be held.
func (v *Value[S]) salvage(c Content) *S {
	prev := v.state.Load()
	next, err := v.step(prev, c, time.Now())
	if err == nil || next == nil || next == prev {
		return nil
	}
	v.settle.forget()
	return next
}

// report logs a fault once until it changes, and its end. That of an Open that
// fails is not logged: it is returned.
func (v *Value[S]) report(err error, news, healed bool) {
	switch {
	case news && !v.settle.some:
		if v.o.Wait {
			v.o.Logger.Warn("source is bad, waiting for good content", "error", err)
		}
	case news:
		v.o.Logger.Warn("source is bad, keeping the last good content", "error", err)
	case healed:
		v.o.Logger.Info("source heals")
	}
}

// lookForFixedMount is done at each change and not at each read: a mount table
// may have thousands of lines.
func (v *Value[S]) lookForFixedMount(r reading) {
	var paths []string
	for _, at := range r.ev.spots {
		if at.info != nil {
			paths = append(paths, at.path)
		}
	}
	path := fixedMount(paths)
	v.mu.Lock()
	news := path != "" && path != v.book.FixedMount
	v.book.FixedMount = path
	v.mu.Unlock()
	if news {
		v.o.Logger.Warn("a single file is mounted: replacing it outside is never seen here; mount its directory (in Kubernetes without subPath)",
			"path", path)
	}
}
