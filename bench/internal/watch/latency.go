package watch

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A Trial is one Kind that watches one directory, which changes in one way.
type Trial struct {
	Kind   Kind
	change Change
	parent string
	dir    string
	began  int // the number of directories so far
	i      int // the current version
	watch  Watch
}

// NewTrial returns a Trial in a new directory in parent.
func NewTrial(ctx context.Context, k Kind, c Change, parent string) (*Trial, error) {
	t := &Trial{Kind: k, change: c, parent: parent}
	return t, t.renew(ctx)
}

// renew starts the watch again in a new directory, for a Kind that lost its file.
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
	pause(ctx, 50*time.Millisecond) // until the watch is ready
	return nil
}

// lasting is the number of changes after which a Trial starts again. A process that
// lives longer keeps more state, which real rotations, days apart, do not cause.
const lasting = 50

// tidying is the time after Show at which a kubelet removes the old content. A watch of
// the old file reacts only to that removal.
const tidying = 2 * time.Millisecond

// settling is how long the goroutine that changes the content spins before the change.
// It has just slept, and the Go runtime used the thread that waits for events to wake
// it. After settling another thread waits for events, as if another process made the
// change.
const settling = time.Millisecond

// Next changes the content once. It returns how long it took until the new content was
// served, and whether that was within limit. It checks in a busy loop, because a timer
// is too coarse for microseconds. For a Kind that polls, it pauses between checks.
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

// Start prepares the next version. The caller calls Show.
func (t *Trial) Start(ctx context.Context) (Steps, error) {
	steps, err := t.Prepare()
	if err != nil {
		return Steps{}, err
	}
	pause(ctx, 2*time.Millisecond) // so that the previous change does not influence this one
	if err := steps.Before(); err != nil {
		return Steps{}, err
	}
	pause(ctx, 10*time.Millisecond)
	return steps, nil
}

// Prepare is Start without its pauses, and without the step Before.
func (t *Trial) Prepare() (Steps, error) {
	t.i++
	files, err := t.Kind.Files(t.i)
	if err != nil {
		return Steps{}, err
	}
	return t.change.Prepare(t.dir, t.i, files)
}

// Serves returns a function that reports whether the version that Start prepared is
// served.
func (t *Trial) Serves() func() bool { return t.watch.Serves(t.i) }

// Close stops the watch.
func (t *Trial) Close() error { return t.watch.Close() }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
