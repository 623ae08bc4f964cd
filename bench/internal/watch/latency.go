package watch

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A Trial is one Kind that watches one folder, which changes in one way.
type Trial struct {
	Kind   Kind
	change Change
	parent string
	dir    string
	began  int // folders so far
	i      int // the version that is there
	watch  Watch
}

// NewTrial returns a Trial in a new folder within parent.
func NewTrial(ctx context.Context, k Kind, c Change, parent string) (*Trial, error) {
	t := &Trial{Kind: k, change: c, parent: parent}
	return t, t.renew(ctx)
}

// renew begins anew, for one that has lost its file for good.
func (t *Trial) renew(ctx context.Context) error {
	t.began++
	t.dir, t.i = filepath.Join(t.parent, strconv.Itoa(t.began)), 0
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	files, err := t.Kind.Files(0)
	if err != nil {
		return err
	}
	if err := t.change.Set(t.dir, files); err != nil {
		return err
	}
	if t.watch, err = t.Kind.Start(ctx, t.dir); err != nil {
		return err
	}
	pause(ctx, 50*time.Millisecond) // till its watch stands
	return nil
}

// lasting is after how many changes a Trial begins anew, so that nothing is measured
// of what a process gathers in a year.
const lasting = 50

// tidying is when a kubelet removes what it has replaced, after it has shown what
// is new. A watch of the old file acts on that and no sooner.
const tidying = 2 * time.Millisecond

// settling is how long the one who changes the content holds its core before it does.
// It has just slept, and the runtime has taken its thread from waiting for events, which
// another one has to be woken for. In life another process changes the content.
const settling = time.Millisecond

// Next changes the content once, and returns how long it took until the new was
// served, and whether that was within limit. A busy loop looks, so that no timer
// blurs what takes microseconds; between looks of one that polls it rests.
func (t *Trial) Next(ctx context.Context, limit time.Duration) (took time.Duration, served bool, err error) {
	if t.i == lasting {
		_ = t.watch.Close()
		if err := t.renew(ctx); err != nil {
			return 0, false, err
		}
	}
	steps, err := t.Start(ctx)
	if err != nil {
		return 0, false, err
	}
	serves := t.watch.Serves(t.i)
	for rest := time.Now(); time.Since(rest) < settling; {
	}
	began := time.Now()
	if err := steps.Show(); err != nil {
		return 0, false, err
	}
	tidy := false
	for !serves() {
		took := time.Since(began)
		if took > limit {
			_ = t.watch.Close()
			return limit, false, t.renew(ctx)
		}
		if took > tidying && !tidy {
			tidy = true
			if err := steps.After(); err != nil {
				return 0, false, err
			}
		}
		if t.Kind.Polls {
			pause(ctx, time.Millisecond)
		}
		if ctx.Err() != nil {
			return 0, false, ctx.Err()
		}
	}
	took = time.Since(began)
	if !tidy {
		err = steps.After()
	}
	return took, true, err
}

// Start prepares the next version, and leaves it to the caller to show it.
func (t *Trial) Start(ctx context.Context) (Steps, error) {
	steps, err := t.Prepare()
	if err != nil {
		return Steps{}, err
	}
	pause(ctx, 2*time.Millisecond) // changes in a row are another matter
	if err := steps.Before(); err != nil {
		return Steps{}, err
	}
	pause(ctx, 10*time.Millisecond)
	return steps, nil
}

// Prepare is Start without the rests.
func (t *Trial) Prepare() (Steps, error) {
	t.i++
	files, err := t.Kind.Files(t.i)
	if err != nil {
		return Steps{}, err
	}
	return t.change.Prepare(t.dir, t.i, files)
}

// Serves returns what reports whether the version that Start prepared is served.
func (t *Trial) Serves() func() bool { return t.watch.Serves(t.i) }

// Close ends the watch.
func (t *Trial) Close() error { return t.watch.Close() }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
