package reload

import (
	"context"
	"errors"
	"maps"
	"time"
)

const (
	firstPause   = 5 * time.Millisecond   // between the two reads of Open and Reload
	firstTimeout = 200 * time.Millisecond // for two reads in a row to agree
)

// read reads the source once. reading must be held.
func (v *Value[S]) read(ctx context.Context) (r reading) {
	if files, ok := v.src.(fileSource); ok {
		r.content, r.origin, r.err = files.readFiles(v.options.MaxBytes)
	} else {
		r.content, r.err = v.src.Read(ctx, v.options.MaxBytes)
	}
	if r.err == nil {
		r.sums = checksums(r.content)
	}
	return r
}

// readTwice reads until two reads in a row agree. Errors of files must agree as
// well: a missing file may be about to be replaced. began is the start of the last
// read.
func (v *Value[S]) readTwice(ctx context.Context) (r reading, began time.Time) {
	began = time.Now()
	r = v.read(ctx)
	_, files := v.src.(fileSource)
	if v.isStatic() || v.options.Debounce < 0 || r.err != nil && !files {
		return r, began
	}
	deadline := began.Add(firstTimeout)
	for {
		sleep(ctx, firstPause)
		began = time.Now()
		next := v.read(ctx)
		switch {
		case r.err == nil && next.err == nil && maps.Equal(r.sums, next.sums),
			r.err != nil && next.err != nil && r.err.Error() == next.err.Error():
			return next, began
		case time.Now().After(deadline):
			if next.err == nil {
				next.err = unsteadyError(next.content.Path)
			}
			return next, began
		}
		r = next
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// The three functions below finish a read. reading must be held.
//
//	result of read and Step            function          Stats       state
//	error of the read                  finishFailed      Failed      kept, or what the Step returns for partial content
//	the accepted content               finishUnchanged   Unchanged   kept
//	new content, the Step accepts it   finishChanged     Applied     what the Step returns
//	new content, the Step refuses it   finishChanged     Rejected    kept, or what the Step returns beside the error

func (v *Value[S]) finishFailed(r reading, began time.Time) error {
	v.stability.refuse(r)
	v.mu.Lock()
	if r.content.Partial {
		if next, err := v.callStep(r.content); err != nil {
			v.publish(next)
		}
	}
	isNew, _ := v.stats.record(failed, time.Now(), r.err)
	v.mu.Unlock()
	v.observe(began)
	v.log(r.err, isNew, false)
	return r.err
}

func (v *Value[S]) finishUnchanged(r reading, began time.Time) {
	v.stability.accept(r) // the same bytes, perhaps in another file
	v.mu.Lock()
	_, recovered := v.stats.record(unchanged, time.Now(), nil)
	v.mu.Unlock()
	v.observe(began)
	v.log(nil, false, recovered)
}

var errNoState = errors.New("reload: the step returned neither a state nor an error")

func (v *Value[S]) finishChanged(r reading, began time.Time) error {
	v.mu.Lock()
	next, err := v.callStep(r.content)
	res := applied
	if err != nil {
		res = rejected
	}
	// Record first: a caller that sees the new state also sees the new Stats.
	isNew, recovered := v.stats.record(res, time.Now(), err)
	v.publish(next)
	v.mu.Unlock()
	v.observe(began)
	if err != nil {
		v.stability.refuse(r)
		v.log(err, isNew, false)
		return err
	}
	v.stability.accept(r)
	v.log(nil, false, recovered)
	v.options.Logger.Debug("source applied")
	v.warnOfFileMount(r)
	return nil
}

// callStep calls the Step with the current state. mu must be held.
func (v *Value[S]) callStep(c Content) (next *S, err error) {
	prev := v.state.Load()
	next, err = v.step(prev, c, time.Now())
	switch {
	case next == nil && err == nil:
		err = errNoState
	case err != nil && next != nil && next != prev:
		// Bad content changed the state, so the accepted content must be applied
		// again when it returns.
		v.stability.outdated = true
	}
	return next, err
}

// observe reports how long a finished read took.
func (v *Value[S]) observe(began time.Time) {
	if v.options.Observe != nil {
		v.options.Observe(time.Since(began))
	}
}

// log logs a new error, or that the source has recovered. Open without Wait returns
// its error instead.
func (v *Value[S]) log(err error, isNew, recovered bool) {
	switch {
	case isNew && !v.stability.hasAccepted:
		if v.options.Wait {
			v.options.Logger.Warn("source is bad, waiting for good content", "error", err)
		}
	case isNew:
		v.options.Logger.Warn("source is bad, keeping the last good content", "error", err)
	case recovered:
		v.options.Logger.Info("source is good again")
	}
}

// warnOfFileMount looks for files that are mount points. It runs for each change
// and not for each read, because a mount table can have thousands of lines.
func (v *Value[S]) warnOfFileMount(r reading) {
	var paths []string
	for _, f := range r.origin.files {
		if f.info != nil {
			paths = append(paths, f.path)
		}
	}
	path := fileMount(paths)
	v.mu.Lock()
	isNew := path != "" && path != v.stats.FixedMount
	v.stats.FixedMount = path
	v.mu.Unlock()
	if isNew {
		v.options.Logger.Warn("a single file is mounted, so replacing it outside is never seen here; mount its directory (in Kubernetes without subPath)",
			"path", path)
	}
}
