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

// readOnce reads the source once. readLock must be held.
func (v *Value[S]) readOnce(ctx context.Context) (r reading) {
	began := time.Now()
	if files, ok := v.src.(*fileSource); ok {
		r = files.read(v.options.MaxBytes)
	} else {
		r.content, r.err = v.src.Read(ctx, v.options.MaxBytes)
	}
	if r.err == nil {
		r.sums = checksums(r.content)
	}
	r.began = began
	return r
}

// read reads the source. It reads files until two readings agree; one is enough for the
// accepted content. readLock must be held.
func (v *Value[S]) read(ctx context.Context) reading {
	r := v.readOnce(ctx)
	files, ok := v.src.(*fileSource)
	if !ok || r.err == nil && v.stability.isAccepted(r) {
		return r
	}
	began := r.began
	r = files.confirm(r, v.options.MaxBytes)
	if r.err == nil {
		r.sums = checksums(r.content)
	}
	r.began = began
	return r
}

// readTwice reads until two reads in a row agree. Errors of files must agree as
// well: a missing file may be about to be replaced.
func (v *Value[S]) readTwice(ctx context.Context) reading {
	if v.isStatic() || v.options.Debounce < 0 {
		return v.read(ctx)
	}
	r := v.readOnce(ctx)
	if _, files := v.src.(*fileSource); r.err != nil && !files {
		return r
	}
	deadline := r.began.Add(firstTimeout)
	for {
		sleep(ctx, firstPause)
		next := v.readOnce(ctx)
		switch {
		case r.err == nil && next.err == nil && maps.Equal(r.sums, next.sums),
			r.err != nil && next.err != nil && r.err.Error() == next.err.Error():
			return next
		case time.Now().After(deadline):
			if next.err == nil {
				next.err = unsteadyError(next.content.Path)
			}
			return next
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

var errNoState = errors.New("reload: the step returned neither a state nor an error")

// finish applies the result of a read. It reports whether new content was accepted, and
// the error of the read or the Step. readLock must be held.
//
//	result of read and Step            Stats       state
//	error of the read                  Failed      kept, or what the Step returns for partial content
//	the accepted content               Unchanged   kept
//	new content, the Step accepts it   Applied     what the Step returns
//	new content, the Step refuses it   Rejected    kept, or what the Step returns beside the error
func (v *Value[S]) finish(r reading) (changed bool, err error) {
	var next *S
	v.mu.Lock()
	waiting := v.stats.LastSuccess.IsZero() // there is no good content yet
	count := &v.stats.Failed
	switch err = r.err; {
	case err == nil && v.stability.isAccepted(r):
		count = &v.stats.Unchanged
	case err == nil:
		if next, err = v.callStep(r.content); err == nil {
			count, changed = &v.stats.Applied, true
		} else {
			count = &v.stats.Rejected
		}
	case r.content.Partial:
		var stepErr error
		if next, stepErr = v.callStep(r.content); stepErr == nil {
			next = nil
		}
	}
	// Record first: a caller that sees the new state also sees the new Stats.
	isNew, recovered := v.stats.record(count, changed, err)
	v.publish(next)
	v.mu.Unlock()
	if v.options.Observe != nil {
		v.options.Observe(time.Since(r.began))
	}
	if err != nil {
		v.stability.refuse(r)
		switch log := v.options.Logger; {
		case isNew && !waiting:
			log.Warn("source is bad, keeping the last good content", "error", err)
		case isNew && v.options.Wait: // without Wait, Open returns the error
			log.Warn("source is bad, waiting for good content", "error", err)
		}
		return false, err
	}
	v.stability.accept(r) // unchanged content, too: it can be in another file
	if recovered {
		v.options.Logger.Info("source is good again")
	}
	if changed {
		v.options.Logger.Debug("source applied")
		v.warnOfFileMount(r)
	}
	return changed, nil
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

// warnOfFileMount looks for files that are mount points. It runs for each change
// and not for each read.
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
