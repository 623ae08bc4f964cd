package reload

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"time"
)

var errRunning = errors.New("reload: Run is running already")

// Run keeps the state up to date until ctx ends, and then returns nil. Errors of
// the source or of file system events do not end it: they are in Stats and in the
// log, and Run tries again. A second Run at the same time returns an error at once.
func (v *Value[S]) Run(ctx context.Context) error {
	if !v.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer v.running.Store(false)
	if v.isStatic() {
		<-ctx.Done()
		return nil
	}
	watcher := cmp.Or(v.options.Watcher, new(Watcher))
	sub := watcher.subscribe()
	defer sub.close()
	defer v.setMode(modePoll, nil)

	var polls <-chan time.Time // nil, which never delivers, without polling
	poll, tick := v.options.Poll, v.options.Poll/pollTicks
	if poll > 0 { // at first at a random tick of the interval, so that not all Values poll at one tick
		polls = watcher.afterTick(tick*time.Duration(1+rand.N(pollTicks)), tick) //nolint:gosec // no secret
	}
	var changed <-chan struct{} // nil as above, unless the Source has Changed
	if s, ok := v.src.(interface{ Changed() <-chan struct{} }); ok {
		changed = s.Changed()
	}
	var limit rateLimit
	for byEvent := false; ; {
		var again <-chan time.Time
		if wait := v.readAndWatch(ctx, sub, byEvent); wait > 0 {
			again = time.After(wait)
		}
		if byEvent && limit.exceeded(time.Now()) {
			sleep(ctx, limitPause)
		}
		byEvent = false
		select {
		case <-ctx.Done():
			return nil
		case <-sub.wake:
			byEvent = true
		case <-changed:
			byEvent = true
		case <-polls:
			polls = watcher.afterTick(poll, tick)
		case <-again:
		}
	}
}

func (v *Value[S]) usesEvents() bool {
	_, files := v.src.(*fileSource)
	return files && !v.options.PollOnly
}

// maxRereads limits how often readAndWatch reads again because a watch was new. If all of
// them were, the next event or poll reads again.
const maxRereads = 8

// readAndWatch reads the source, processes the result, and then watches the
// directories that the read went through. It reads again if a watch is new, because
// a change just before that raised no event. Reading before watching publishes a
// swap without delay. It returns how long to wait before the next read; 0 means
// until an event or a poll.
func (v *Value[S]) readAndWatch(ctx context.Context, sub *subscription, byEvent bool) (wait time.Duration) {
	select {
	case <-ctx.Done():
		return 0
	case v.readLock <- struct{}{}:
		defer func() { <-v.readLock }()
	}
	for range maxRereads {
		events, woken := sub.takePending()
		v.recordLostEvents(events)
		byEvent = byEvent || woken
		r := v.read(ctx)
		if ctx.Err() != nil {
			return 0
		}
		v.markUnsettled(r, sub, events)
		wait = 0
		if r.err != nil {
			v.stability.restart()
		} else {
			wait = v.stability.wait(r, byEvent, time.Now())
		}
		if wait == 0 {
			_, _ = v.finish(r) // the error is in Stats and in the log
		}
		if !v.usesEvents() {
			return wait
		}
		missed, err := sub.watch(r.origin.steps)
		if !missed {
			mode := modeEvents
			if err != nil {
				mode = modePoll
			}
			v.setMode(mode, err)
			return wait
		}
		byEvent = false
	}
	return wait
}

// markUnsettled marks the files of r that were written to, or may have been.
func (v *Value[S]) markUnsettled(r reading, sub *subscription, events pendingEvents) {
	if r.err != nil || v.stability.isAccepted(r) {
		return
	}
	for key, f := range r.origin.files {
		if f.info != nil && (events.lost || events.written[f.path] || !sub.isWatched(filepath.Dir(f.path))) {
			v.stability.markUnsettled(key, f.info)
		}
	}
}

// recordLostEvents counts and logs the errors of events.
func (v *Value[S]) recordLostEvents(events pendingEvents) {
	if len(events.errors) == 0 {
		return
	}
	v.mu.Lock()
	for reason, n := range events.errors {
		v.stats.WatchErrors[reason] += n
	}
	v.mu.Unlock()
	v.options.Logger.Warn("file system events were lost, reading everything again", "overflows", events.errors[reasonOverflow])
}

// setMode records how changes are found, and logs a change of it. cause is why there
// are no events; nil if none are expected.
func (v *Value[S]) setMode(mode string, cause error) {
	v.mu.Lock()
	changed, logged := v.stats.Mode != mode, v.stats.noEventsLogged
	v.stats.Mode, v.stats.noEventsLogged = mode, cause != nil
	if cause != nil {
		v.stats.WatchErrors[reasonOf(cause)]++
	}
	v.mu.Unlock()
	switch log := v.options.Logger; {
	case cause != nil && !logged && v.options.Poll > 0:
		log.Warn("no file system events, polling", "mode", mode, "every", v.options.Poll, "error", cause)
	case cause != nil && !logged:
		log.Warn("no file system events and no polling: only a requested reload sees a change", "mode", mode, "error", cause)
	case changed && mode == modeEvents:
		log.Info("watching the source", "mode", mode)
	}
}

// A rateLimit bounds the reads that events of a busy directory cause: limitFree
// reads in each limitWindow are free, so that no swap is delayed; after that there
// is a limitPause between two. A read takes about 50 µs, so this is at most a tenth
// of a core. The zero rateLimit is ready for use.
type rateLimit struct {
	since time.Time
	reads int
}

const (
	limitWindow = 250 * time.Millisecond
	limitFree   = 256
	limitPause  = 2 * time.Millisecond
)

// exceeded counts a read and reports whether a pause must follow.
func (l *rateLimit) exceeded(now time.Time) bool {
	if now.Sub(l.since) > limitWindow {
		l.since, l.reads = now, 0
	}
	l.reads++
	return l.reads > limitFree
}
