package reload

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"time"
)

var errRunning = errors.New("reload: Run is running already")

// Run keeps the value in step with its source until ctx ends, and then returns
// nil. A source or a watch that is broken is no reason to return: the fault is
// in Stats and in the log, and it is tried again. Only one Run may run at a
// time; another one returns an error at once.
func (v *Value[S]) Run(ctx context.Context) error {
	if !v.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer v.running.Store(false)
	if v.isStatic() {
		<-ctx.Done()
		return nil
	}
	sub, done := v.subscribe()
	defer done()
	defer v.setMode(modePoll, nil)

	var tick <-chan time.Time // nil, which never delivers, without polling
	if v.o.Poll > 0 {
		// A Ticker of one period, and no Timer that is set anew each time: setting one
		// wakes the thread that waits for the next, which idle processes pay for.
		poll := time.NewTicker(jitter(v.o.Poll))
		defer poll.Stop()
		tick = poll.C
	}
	var changed <-chan struct{} // as tick
	if w, ok := v.src.(waking); ok {
		changed = w.Changed()
	}
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	var pace pacer
	for byEvent := false; ; {
		if wait := v.pass(ctx, sub, byEvent); wait > 0 {
			settled.Reset(wait)
		} else {
			settled.Stop()
		}
		if byEvent && pace.tired(time.Now()) {
			pause(ctx, pacerRest)
		}
		byEvent = false
		select {
		case <-ctx.Done():
			return nil
		case <-sub.hints:
			byEvent = true
		case <-changed:
			byEvent = true
		case <-tick:
		case <-settled.C:
		}
	}
}

// subscribe joins the shared Watcher, or one that lives as long as this Run.
// What is not a file gets no hints.
func (v *Value[S]) subscribe() (sub *subscription, done func()) {
	w := v.o.Watcher
	if _, ok := v.src.(tracked); !ok || v.o.PollOnly {
		w = &Watcher{off: true}
	} else if w == nil {
		w = new(Watcher)
	}
	sub = w.subscribe()
	return sub, sub.release
}

// maxRearm bounds how often one pass reads again because the set of directories
// to watch was another one after reading. What is left over waits for its event
// or the next poll.
const maxRearm = 8

// pass reads the source, decides, and then watches where it was found. It
// returns how long to wait before the next read; zero means until something
// happens.
//
// Reading before watching publishes a swap without delay, and reading again
// wherever a watch is new leaves no gap between the two.
func (v *Value[S]) pass(ctx context.Context, sub *subscription, byEvent bool) (wait time.Duration) {
	select {
	case <-ctx.Done():
		return 0
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	}
	for range maxRearm {
		n, hinted := sub.take()
		byEvent = byEvent || hinted
		began := time.Now()
		r := v.read(ctx)
		if ctx.Err() != nil {
			return 0
		}
		wait = v.weigh(r, sub, n, byEvent, began)
		armed := sub.arm(interests(r.ev.hops))
		mode := modePoll
		if armed.whole {
			mode = modeEvents
		}
		v.setMode(mode, armed.err)
		v.countWatchErrors(sub)
		if !armed.changed {
			return wait
		}
		byEvent = false
	}
	return wait
}

// weigh judges one reading and acts on it.
func (v *Value[S]) weigh(r reading, sub *subscription, n news, byEvent bool, began time.Time) time.Duration {
	if r.err != nil {
		v.settle.restart()
		_ = v.fail(r, began) // is in the book and in the log
		return 0
	}
	if !v.settle.some || r.sum != v.settle.accepted.sum {
		for key, at := range r.ev.spots {
			switch {
			case at.info == nil:
			case n.lost || n.written[at.path] || !sub.covers(filepath.Dir(at.path)):
				v.settle.doubt(key, at.info)
			}
		}
	}
	verdict, wait := v.settle.judge(r, byEvent, time.Now())
	switch verdict {
	case verdictUnchanged:
		v.keep(r, began)
	case verdictAccept:
		_ = v.advance(r, began) // is in the book and in the log
	case verdictWait:
		return wait
	}
	return 0
}

// setMode notes how changes are learned, and logs it when that changes. cause is
// why there are no events; nil where none are expected. The mode before Run is
// modePoll, so a Run that never gets events is logged by its cause alone.
func (v *Value[S]) setMode(mode string, cause error) {
	v.mu.Lock()
	was, told := v.book.Mode, v.book.polling
	v.book.Mode = mode
	v.book.polling = cause != nil
	v.mu.Unlock()
	switch {
	case cause != nil && !told && v.o.Poll > 0:
		v.o.Logger.Warn("no file system events, polling", "mode", mode, "every", v.o.Poll, "error", cause)
	case cause != nil && !told:
		v.o.Logger.Warn("no file system events and no polling: a change is seen only when a reload is asked for", "mode", mode, "error", cause)
	case was != mode && mode == modeEvents:
		v.o.Logger.Info("watching the source", "mode", mode)
	}
}

func (v *Value[S]) countWatchErrors(sub *subscription) {
	counts := sub.faults()
	if counts == nil {
		return
	}
	v.mu.Lock()
	v.book.watchErrors(counts)
	v.mu.Unlock()
	if counts[reasonOverflow]+counts[reasonOther] > 0 {
		v.o.Logger.Warn("file system events were lost, everything is read again", "overflows", counts[reasonOverflow])
	}
}

// jitter spreads d by a tenth either way, so that a fleet does not read in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // no secret
}

// A pacer bounds what a busy directory costs. Hints are free for a while, so
// that a swap, and a burst of them, is never held up; then they come at most
// every pacerRest. At some 50 µs a read this is less than a tenth of a core.
type pacer struct {
	since time.Time
	hints int
}

const (
	pacerWindow = 250 * time.Millisecond
	pacerFree   = 256
	pacerRest   = 2 * time.Millisecond
)

// tired reports whether the next hint has to wait.
func (p *pacer) tired(now time.Time) bool {
	if now.Sub(p.since) > pacerWindow {
		p.since, p.hints = now, 0
	}
	p.hints++
	return p.hints > pacerFree
}
