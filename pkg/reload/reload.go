package reload

import (
	"context"
	"log/slog"
	"time"
)

// Content is what one read of a source gave: Data for a single value, Keys for
// a directory. It must not be modified.
type Content struct {
	Data []byte            // of File, Env and EnvFile; nil for Dir
	Keys map[string][]byte // of Dir: the keys asked for that exist; nil otherwise
	Path string            // what was read, for error texts
}

// A Source is something that can be read again and again. File, Dir, Path, Env
// and EnvFile make the ones that are also watched; any other implementation is
// polled.
type Source interface {
	// Read returns the content as it is now, or an error that names the
	// source, the fault and the mend and quotes no content. Content over
	// maxBytes is ErrTooLarge.
	Read(ctx context.Context, maxBytes int64) (Content, error)
}

func File(path string) Source                   { panic("todo") }
func Dir(path string, keys ...string) Source    { panic("todo") }
func Path(path string, keys ...string) Source   { panic("todo") }
func Env(name string) Source                    { panic("todo") }
func EnvFile(path string, name string) Source   { panic("todo") }

// A Step makes the next state from the previous one and new content. It is
// pure, is never called concurrently with itself, and must not retain c.
//
// An error rejects the content and keeps prev, which is nil until the first
// content was accepted. A Step that returns a state beside its error has the
// content rejected and the state published all the same: what bad content was
// still good for. After that prev is that state; Ready stays as it was.
type Step[S any] func(prev *S, c Content, now time.Time) (*S, error)

// Options tune a Value. The zero value is good.
type Options struct {
	Poll     time.Duration // how often to re-read regardless of events; 0 means 10 s, negative never
	Debounce time.Duration // how long in-place writes must be quiet; 0 means 1 s, negative accepts at once
	MaxBytes int64         // most bytes a read takes; 0 means 4 MiB
	Watcher  *Watcher      // shared by several Values; nil means one of its own
	Wait     bool          // Open succeeds without good content; Ready tells when it came
	Logger   *slog.Logger  // nil discards
	Name     string        // what logs call this value, as attribute "source"
}

type Watcher struct{}

func NewWatcher() *Watcher              { panic("todo") } // never fails: without inotify it says so and values poll
func PollOnly() *Watcher                { panic("todo") }
func (w *Watcher) Close() error         { panic("todo") }

// Mode says how a Value learns of changes.
type Mode string

const (
	ModeEvents Mode = "events" // file system events, and polling as well
	ModePoll   Mode = "poll"   // polling alone
	ModeStatic Mode = "static" // cannot change from outside; Reload alone
)

type Result string

const (
	Applied   Result = "applied"
	Unchanged Result = "unchanged"
	Rejected  Result = "rejected" // read, but the Step refused it
	Failed    Result = "error"    // could not be read
)

// Stats is a snapshot of a Value's bookkeeping.
type Stats struct {
	Applied, Unchanged, Rejected, Failed uint64
	LastSuccess time.Time // when content was last read and was good (applied or unchanged)
	LastChange  time.Time // when content was last applied
	LastError   error     // nil when the last read was good
	Mode        Mode
	WatchErrors map[string]uint64 // by reason: "add", "limit", "overflow", "other"
	FixedMount  string            // path of a single-file mount that can never update; "" when none
	Durations   Histogram
}

// Histogram counts durations; Buckets are cumulative upper bounds in seconds as Prometheus has them.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

type Value[S any] struct{}

func Open[S any](src Source, step Step[S], o Options) (*Value[S], error) { panic("todo") }
func (v *Value[S]) Run(ctx context.Context) error                       { panic("todo") }
func (v *Value[S]) Load() *S                                            { panic("todo") }
func (v *Value[S]) Ready() bool                                         { panic("todo") }
func (v *Value[S]) Apply(f func(prev *S, now time.Time) *S)              { panic("todo") }
func (v *Value[S]) Reload() (changed bool, err error)                   { panic("todo") }
func (v *Value[S]) Stats() Stats                                        { panic("todo") }
func (v *Value[S]) Updated() <-chan struct{}                            { panic("todo") }
