package reload

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Step makes the next state from the previous one and new content. It is
// pure, is never called concurrently with itself, and must not retain c.
//
// An error rejects the content and keeps prev, which is nil until the first
// content was accepted. It must quote no content, since it is logged.
//
// A Step that returns a state beside its error has the content rejected and the
// state published all the same: what bad content was still good for. After
// that prev is that state. Bad content is tried again at
// every poll, so return prev itself where nothing is new.
type Step[S any] func(prev *S, c Content, now time.Time) (*S, error)

// Options tune a Value. The zero value is good.
type Options struct {
	Poll     time.Duration       // how often to re-read regardless of events, within 10 %; 0 means 10 s, negative never
	Debounce time.Duration       // how long in-place writes must be quiet; 0 means 1 s, negative accepts at once
	MaxBytes int64               // most bytes a read takes; 0 means 4 MiB
	Watcher  *Watcher            // shared by several Values; nil means one of its own
	PollOnly bool                // no file system events, for network file systems and for testing/synctest
	Wait     bool                // Open succeeds without good content; Stats().Applied tells when it came
	Logger   *slog.Logger        // nil discards
	Observe  func(time.Duration) // called with how long each attempt took: reading and the Step
	Name     string              // what logs call this value, as attribute "source"; "" means the path or the name of the variable
}

const (
	defaultPoll     = 10 * time.Second
	minPoll         = time.Millisecond // less would be a loop that never rests
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
	o.MaxBytes = min(o.MaxBytes, math.MaxInt64-1) // a read asks for one more
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if s, ok := src.(fmt.Stringer); ok && o.Name == "" {
		o.Name = s.String()
	}
	o.Logger = o.Logger.With("source", o.Name)
	return o
}

// A Value is a state kept in step with its source. Open makes one; the zero
// Value is of no use. All methods may be called concurrently.
type Value[S any] struct {
	src  Source
	step Step[S]
	o    Options

	state   atomic.Pointer[S]
	changed atomic.Pointer[chan struct{}] // closed when state changes
	running atomic.Bool

	// turn is held while reading and settling, which may take as long as the
	// file system likes. It is taken before mu. It is a channel of one, and no
	// Mutex, so that Run ends with its context even while a Reload reads, and
	// so that waiting for it counts as waiting in testing/synctest.
	turn   chan struct{}
	settle settler
	salt   []byte

	// mu serialises all writes to state. It is never held during I/O, so that
	// Apply, and with it a revocation, waits for no file.
	mu   sync.Mutex
	book book
}

// Open reads the source and returns its Value, ready, or the error. With
// Options.Wait it returns a Value all the same, whose Load is nil until good
// content comes. It starts no goroutine and keeps no file open; Run keeps the
// Value in step from then on.
//
// The source must read the same twice, 5 ms apart: a program that starts in the
// middle of a write should not begin with half of it.
func Open[S any](src Source, step Step[S], o Options) (*Value[S], error) {
	if src == nil || step == nil {
		return nil, errors.New("reload: open: source and step must not be nil")
	}
	o = o.withDefaults(src)
	v := &Value[S]{src: src, step: step, o: o, salt: make([]byte, 32), turn: make(chan struct{}, 1)}
	_, _ = rand.Read(v.salt) // never fails, see its documentation
	v.settle.debounce = o.Debounce
	v.book.Mode = modePoll
	v.book.WatchErrors = map[string]uint64{reasonAdd: 0, reasonLimit: 0, reasonOverflow: 0, reasonOther: 0}
	if v.isStatic() {
		v.book.Mode = modeStatic
	}
	changed := make(chan struct{})
	v.changed.Store(&changed)
	if _, err := v.Reload(); err != nil && !o.Wait {
		return nil, err
	}
	return v, nil
}

func (v *Value[S]) isStatic() bool {
	_, ok := v.src.(static)
	return ok
}

// Load returns the state as it is now. It is one atomic load. It is nil only
// after an Open with Options.Wait, until something was published. Nobody may
// modify it.
func (v *Value[S]) Load() *S { return v.state.Load() }

// Updated returns a channel that is closed at the next change of the state, be
// it by content or by Apply. To miss none, take the channel before loading:
//
//	for {
//		updated := v.Updated()
//		use(v.Load())
//		<-updated
//	}
func (v *Value[S]) Updated() <-chan struct{} { return *v.changed.Load() }

// Apply makes f's result the state, before it returns. prev is nil where Load
// would be. Returning prev, or nil, changes nothing. It waits for no I/O; f must
// not call methods of the Value other than Load.
func (v *Value[S]) Apply(f func(prev *S, now time.Time) *S) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.publish(f(v.state.Load(), time.Now()))
}

// publish must be called with mu held.
func (v *Value[S]) publish(next *S) {
	if next == nil || next == v.state.Load() {
		return
	}
	v.state.Store(next)
	fresh := make(chan struct{})
	close(*v.changed.Swap(&fresh))
}

// Stats returns the bookkeeping as it is now.
func (v *Value[S]) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.book.snapshot()
}

// Reload reads the source now, whether or not Run runs, and waits neither for a
// poll nor for the Debounce: two equal reads 5 ms apart will do. It reports
// whether content was accepted that differs from what was accepted before, and
// the error if there was one, in which case the state before is kept. This is
// what SIGHUP is for: the user says that writing is over.
func (v *Value[S]) Reload() (changed bool, err error) {
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	r, began := v.readTwice(context.Background())
	v.settle.restart()
	switch {
	case r.err != nil:
		return false, v.fail(r, began)
	case v.settle.some && r.sum == v.settle.accepted.sum:
		v.keep(r, began)
		return false, nil
	}
	err = v.advance(r, began)
	return err == nil, err
}
