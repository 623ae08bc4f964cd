package reload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Step returns the next state, given the previous state and new content. prev is
// nil until there was a state. A Step must not modify prev or keep c. It is never
// called concurrently for one Value, and must not call methods of the Value other
// than Load.
//
// An error rejects the content and keeps prev. The error is logged, so it must not
// quote the content. Rejected content is tried again at every poll.
//
// A Step may return a state beside an error: the state is published although the
// content is rejected. Use that for the part of bad content that must take effect,
// such as a revocation. Return prev itself if nothing changed.
type Step[S any] func(prev *S, c Content, now time.Time) (*S, error)

// Options configure a Value. The zero value has the defaults.
type Options struct {
	// Poll is the longest time between two reads that no event causes. It may be up to a
	// tenth less. The first comes after a random part of it. 0 means 10 s; a negative Poll
	// turns polling off.
	Poll time.Duration

	// Debounce is how long content must not change before it is accepted, where it
	// may have been read half written; see the package documentation. 0 means 1 s;
	// negative accepts it at once.
	Debounce time.Duration

	// MaxBytes limits a read. 0 means 4 MiB.
	MaxBytes int64

	// Watcher delivers the file system events. Share one between Values to use a
	// single inotify instance, and to poll many of them at the same moment. nil means
	// one for this Value.
	Watcher *Watcher

	// PollOnly uses no file system events, for example on network file systems that
	// have none, or in a test with testing/synctest.
	PollOnly bool

	// Wait lets Open succeed although the first read failed or was rejected. Then
	// Load returns nil until a state is published.
	Wait bool

	// Logger logs errors, once each until the source has recovered, and changes of
	// Stats.Mode. nil discards them.
	Logger *slog.Logger

	// Name is the attribute "source" of each log record. "" means the path or the
	// name of the variable.
	Name string

	// Observe is called after each finished read with the time that the read and
	// the Step took. Calls are not concurrent. It must not call Reload. nil means
	// none.
	Observe func(time.Duration)
}

const (
	defaultPoll     = 10 * time.Second
	minPoll         = time.Millisecond // a shorter interval would be a busy loop
	defaultDebounce = time.Second
	defaultMaxBytes = 4 << 20
)

func (o Options) withDefaults(src Source) Options {
	o.Poll = cmp.Or(o.Poll, defaultPoll)
	if o.Poll > 0 {
		o.Poll = max(o.Poll, minPoll)
	}
	o.Debounce = cmp.Or(o.Debounce, defaultDebounce)
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	o.MaxBytes = min(o.MaxBytes, math.MaxInt64-1) // readRegular reads one byte more
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if s, ok := src.(fmt.Stringer); ok && o.Name == "" {
		o.Name = s.String()
	}
	o.Logger = o.Logger.With("source", o.Name)
	return o
}

// A Value holds a state that is kept up to date with a source. Create it with
// [Open]; the zero Value is not usable. All methods are safe for concurrent use.
type Value[S any] struct {
	src     Source
	step    Step[S]
	options Options

	state   atomic.Pointer[S]
	updated atomic.Pointer[chan struct{}] // closed when state changes
	running atomic.Bool

	// readLock is held from the beginning of a read until its result is applied. It
	// is locked before mu and guards stability. It is a channel of one, so that Run
	// can end while a Reload reads, and so that testing/synctest sees who waits.
	readLock  chan struct{}
	stability stabilityCheck

	// mu serializes all changes of state and guards stats. It is not held during
	// I/O, so that Apply never waits for a file.
	mu    sync.Mutex
	stats stats
}

// Open reads the source and returns a Value with the first state. It starts no
// goroutine and keeps no file open; call [Value.Run] to follow changes.
//
// Files and other sources that can change must read the same twice, 5 ms apart,
// within 200 ms, so that a program that starts during a write does not begin with
// half of the content. A negative Options.Debounce accepts the first read.
//
// The error is that of the read or the Step, unless Options.Wait is set.
func Open[S any](src Source, step Step[S], o Options) (*Value[S], error) {
	if src == nil || step == nil {
		return nil, errors.New("reload: open: source and step must not be nil")
	}
	o = o.withDefaults(src)
	v := &Value[S]{src: src, step: step, options: o, readLock: make(chan struct{}, 1)}
	v.stability.debounce = o.Debounce
	v.stats.Mode = modePoll
	if v.isStatic() {
		v.stats.Mode = modeStatic
	}
	v.stats.WatchErrors = map[string]uint64{reasonAdd: 0, reasonLimit: 0, reasonOverflow: 0, reasonOther: 0}
	updated := make(chan struct{})
	v.updated.Store(&updated)
	if _, err := v.Reload(); err != nil && !o.Wait {
		return nil, err
	}
	return v, nil
}

// isStatic reports whether only Reload reads the source again.
func (v *Value[S]) isStatic() bool {
	_, ok := v.src.(env)
	return ok
}

// Load returns the current state, which must not be modified. It costs one atomic
// load. It returns nil only after an Open with Options.Wait, before the first
// state.
func (v *Value[S]) Load() *S { return v.state.Load() }

// Updated returns a channel that is closed when the state changes, by content or by
// Apply. To miss no change, call Updated before Load:
//
//	for {
//		updated := v.Updated()
//		use(v.Load())
//		<-updated
//	}
func (v *Value[S]) Updated() <-chan struct{} { return *v.updated.Load() }

// Apply replaces the state by the result of f before it returns. prev is the
// current state, nil before the first. If f returns prev or nil, nothing changes.
// Apply never waits for I/O. f must not call methods of the Value other than Load.
func (v *Value[S]) Apply(f func(prev *S, now time.Time) *S) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.publish(f(v.state.Load(), time.Now()))
}

// publish stores the next state. mu must be held.
func (v *Value[S]) publish(next *S) {
	if next == nil || next == v.state.Load() {
		return
	}
	v.state.Store(next)
	updated := make(chan struct{})
	close(*v.updated.Swap(&updated))
}

// Stats returns what the Value did until now.
func (v *Value[S]) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.stats.Stats
	s.WatchErrors = maps.Clone(s.WatchErrors)
	return s
}

// Reload reads the source now, also while Run runs. As in Open, two equal reads 5 ms
// apart are enough, without the Debounce: the caller says that writing has ended,
// for example by SIGHUP. It returns whether new content was accepted, and the error
// of the read or the Step.
func (v *Value[S]) Reload() (changed bool, err error) {
	v.readLock <- struct{}{}
	defer func() { <-v.readLock }()
	r := v.readTwice(context.Background())
	v.stability.restart()
	return v.finish(r)
}
