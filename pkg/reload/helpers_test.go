package reload

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits before it fails. It is not an expected duration.
const patience = 10 * time.Second

var errBad = errors.New("bad content")

// joined is a Step whose state is the content as text. It rejects content that contains
// "bad", and a directory without keys.
func joined(_ *string, c Content, _ time.Time) (*string, error) {
	s := string(c.Data)
	if c.Keys != nil {
		var parts []string
		for k, v := range c.Keys {
			parts = append(parts, k+"="+string(v))
		}
		slices.Sort(parts)
		s = strings.Join(parts, " ")
		if s == "" {
			return nil, errBad
		}
	}
	if strings.Contains(s, "bad") {
		return nil, errBad
	}
	return &s, nil
}

// A journal is a log handler that tests can wait on.
type journal struct {
	mu   sync.Mutex
	recs []string
	more chan struct{}
}

func newJournal() *journal { return &journal{more: make(chan struct{})} }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.recs = append(j.recs, line)
	close(j.more)
	j.more = make(chan struct{})
	return nil
}

func (j *journal) count(part string) (n int, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.recs {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n, j.more
}

func (j *journal) await(t *testing.T, part string, times int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		n, more := j.count(part)
		if n >= times {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was logged %d times, want %d; the log: %q", part, n, times, j.recs)
		}
	}
}

// A live is a Value with its log. If it runs, it does so until the test ends.
type live struct {
	*Value[string]
	log *journal

	mu      sync.Mutex
	history []string // everything the Step accepted
}

func open(t *testing.T, src Source, o Options) *live {
	t.Helper()
	l := &live{log: newJournal()}
	o.Logger = slog.New(l.log)
	v, err := Open(src, func(prev *string, c Content, now time.Time) (*string, error) {
		next, err := joined(prev, c, now)
		if next != nil {
			l.mu.Lock()
			l.history = append(l.history, *next)
			l.mu.Unlock()
		}
		return next, err
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	l.Value = v
	return l
}

func (l *live) run(t *testing.T) *live {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return l
}

// start opens and runs a Value, and returns when its events are watched.
func start(t *testing.T, src Source, o Options) *live {
	t.Helper()
	l := open(t, src, o).run(t)
	if !o.PollOnly {
		l.log.await(t, "watching the source", 1)
	}
	return l
}

func (l *live) becomes(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		updated := l.Updated()
		have := l.Load()
		if have != nil && *have == want {
			return
		}
		select {
		case <-updated:
		case <-deadline:
			t.Fatalf("still %q, want %q; stats: %+v; log: %q", deref(l.Load()), want, l.Stats(), l.log.recs)
		}
	}
}

func (l *live) accepted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.history)
}

func deref(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o600))
}

// replace writes a new file and renames it over path.
func replace(t *testing.T, path, text string) {
	t.Helper()
	tmp := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	put(t, tmp, text)
	check(t, os.Rename(tmp, path))
}

// relink makes path a symlink to target, in one step.
func relink(t *testing.T, target, path string) {
	t.Helper()
	tmp := path + ".tmp"
	check(t, os.Symlink(target, tmp), os.Rename(tmp, path))
}

// writeSlowly writes the parts into the open file with a pause before each.
func writeSlowly(t *testing.T, f *os.File, pause time.Duration, parts ...string) {
	t.Helper()
	for _, part := range parts {
		<-time.After(pause)
		_, err := f.WriteString(part)
		check(t, err)
	}
	check(t, f.Close())
}

// quick returns options with events, without polling, and with a short Debounce that a
// busy machine can still keep.
func quick() Options { return Options{Poll: -1, Debounce: 100 * time.Millisecond} }
