package reload

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Without an inotify instance, values poll and report it. They use events when they can.
func TestInotifyExhausted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, "0")
	var available atomic.Bool
	w := new(Watcher)
	w.open = func() (*fsnotify.Watcher, error) {
		if !available.Load() {
			return nil, fmt.Errorf("inotify_init1: %w", syscall.EMFILE)
		}
		return fsnotify.NewWatcher()
	}
	l := open(t, File(path), Options{Poll: 20 * time.Millisecond, Debounce: 30 * time.Millisecond, Watcher: w}).run(t)
	l.log.await(t, "no file system events, polling mode=poll every=20ms error=inotify_init1: too many open files", 1)
	put(t, path, "1")
	l.becomes(t, "1")
	if s := l.Stats(); s.Mode != modePoll || s.WatchErrors[reasonLimit] == 0 {
		t.Errorf("stats: %+v", s)
	}
	if n, _ := l.log.count("no file system events"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	available.Store(true)
	l.log.await(t, "watching the source", 1)
	if s := l.Stats(); s.Mode != modeEvents {
		t.Errorf("stats: %+v", s)
	}
	replace(t, path, "2")
	l.becomes(t, "2")
}

// The kernel's queue overflows, so that the event of the last change is lost. Everything must
// be read again, without a poll.
func TestOverflow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, "0")
	limit := 16384
	if raw, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events"); err == nil {
		_, _ = fmt.Sscan(string(raw), &limit)
	}
	if limit > 1<<17 {
		t.Skipf("the queue holds %d events", limit)
	}
	w := new(Watcher)
	o := quick()
	o.Watcher = w
	l := open(t, File(path), o).run(t)
	l.log.await(t, "watching the source", 1)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	put(t, a, "")
	w.mu.Lock() // delivery waits
	for range limit/2 + 5000 {
		check(t, os.Rename(a, b))
		a, b = b, a
	}
	replace(t, path, "1")
	w.mu.Unlock()
	l.becomes(t, "1")
	l.log.await(t, "events were lost", 1)
	if s := l.Stats(); s.WatchErrors[reasonOverflow] == 0 {
		t.Errorf("stats: %+v", s)
	}
	replace(t, path, "2")
	l.becomes(t, "2")
}

// After an error of fsnotify, everything is read again, because events may be missing.
func TestWatcherError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	w := new(Watcher)
	o := quick()
	o.Watcher = w
	l := open(t, File(path), o).run(t)
	l.log.await(t, "watching the source", 1)
	w.mu.Lock()
	errs := w.notify.Errors
	w.mu.Unlock()
	errs <- syscall.EIO
	l.log.await(t, "events were lost", 1)
	if s := l.Stats(); s.WatchErrors[reasonOther] != 1 || s.Mode != modeEvents {
		t.Errorf("stats: %+v", s)
	}
}

// Several values share an instance; it is closed with the last of them.
func TestSharedWatcher(t *testing.T) {
	dir := t.TempDir()
	w := new(Watcher)
	o := quick()
	o.Watcher = w
	var all []*live
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprint("f", i))
		put(t, path, "0")
		l := open(t, File(path), o)
		all = append(all, l)
	}
	t.Run("running", func(t *testing.T) {
		for _, l := range all {
			l.run(t).log.await(t, "watching the source", 1)
		}
		for i, l := range all {
			replace(t, filepath.Join(dir, fmt.Sprint("f", i)), "1")
			l.becomes(t, "1")
		}
	})
	w.mu.Lock()
	if w.notify != nil || len(w.subs) != 0 {
		t.Error("the instance is still open")
	}
	w.mu.Unlock()
	again := open(t, File(filepath.Join(dir, "f0")), o).run(t)
	again.log.await(t, "watching the source", 1)
}

// Without events and without polling only Reload sees a change, and the log says so.
func TestNeitherEventsNorPolling(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	o := quick()
	o.Watcher = &Watcher{open: func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }}
	l := open(t, File(path), o).run(t)
	l.log.await(t, "no file system events and no polling", 1)
	if m := l.Stats().Mode; m != modePoll {
		t.Errorf("mode is %s", m)
	}
}

// Events of other names in an ancestor directory cause no reads.
func TestBusyAncestor(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "d", "token")
	check(t, os.Mkdir(filepath.Dir(path), 0o700))
	put(t, path, "0")
	l := start(t, File(path), quick())
	l.log.await(t, "watching", 1)
	replace(t, path, "1")
	l.becomes(t, "1")
	before := l.Stats()
	for i := range 1000 {
		put(t, filepath.Join(top, fmt.Sprint("x", i%10)), "x")
	}
	replace(t, path, "2")
	l.becomes(t, "2")
	after := l.Stats()
	if n := after.Unchanged - before.Unchanged; n > 50 {
		t.Errorf("%d reads for a thousand events elsewhere", n)
	}
}

func TestRateLimit(t *testing.T) {
	var limit rateLimit
	now := time.Now()
	for i := range limitFree {
		if limit.exceeded(now.Add(time.Duration(i) * time.Microsecond)) {
			t.Fatalf("exceeded after %d reads", i)
		}
	}
	if !limit.exceeded(now.Add(100 * time.Millisecond)) {
		t.Error("not exceeded in a busy directory")
	}
	if limit.exceeded(now.Add(limitWindow + time.Millisecond)) {
		t.Error("still exceeded after a window")
	}
}

// A change after the read and before the directory is watched causes no event.
func TestReadAgainOnceWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	w := new(Watcher)
	w.open = func() (*fsnotify.Watcher, error) {
		put(t, path, "1")
		return fsnotify.NewWatcher()
	}
	o := quick()
	o.Watcher = w
	l := open(t, File(path), o).run(t)
	l.becomes(t, "1")
}

// A directory is watched again if its watch was lost, and only then.
func TestWatchAgain(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	w := new(Watcher)
	s := w.subscribe()
	defer s.close()
	watch := func() (missed bool, err error) {
		path, err := resolve(filepath.Join(dir, "token"))
		if err == nil {
			t.Fatal("there is a token")
		}
		return s.watch(path.steps)
	}
	if missed, err := watch(); !missed || err != nil {
		t.Fatalf("at first: missed %t, %v", missed, err)
	}
	if missed, err := watch(); missed || err != nil {
		t.Errorf("again: missed %t, %v", missed, err)
	}
	elsewhere, err := os.Lstat(other)
	check(t, err)
	w.mu.Lock()
	w.dirs[dir].info = elsewhere
	w.mu.Unlock()
	if missed, _ := watch(); !missed {
		t.Error("another directory was watched, and that is not noticed")
	}
	w.mu.Lock()
	w.dirs[dir].lost = true
	w.mu.Unlock()
	if missed, _ := watch(); !missed {
		t.Error("its watch was lost, and that is not noticed")
	}
	s.takePending()
	check(t, w.notify.Remove(dir)) // as an unmount does, without an event
	w.mu.Lock()
	w.dirs[dir].added = time.Now().Add(-renewAfter)
	w.mu.Unlock()
	if _, err := watch(); err != nil {
		t.Error(err)
	}
	put(t, filepath.Join(dir, "token"), "0")
	select {
	case <-s.wake:
	case <-time.After(patience):
		t.Error("no event after the watch had ended by itself")
	}
}

// The kubelet removes the directory of the old version after a swap. If the agent has just
// read that directory, it reads again, and reports no error of its events.
func TestSwapBetweenReadAndWatch(t *testing.T) {
	dir := t.TempDir()
	swapKeys(t, dir, "token", "0")
	src := Dir(dir, "token").(*fileSource)
	l := open(t, src, Options{Poll: -1, Debounce: time.Hour})
	read := src.read
	swap := func() { swapKeys(t, dir, "token", "1") }
	src.read = func(maxBytes int64) reading {
		r := read(maxBytes)
		swap()
		swap = func() {}
		return r
	}
	l.run(t).log.await(t, "watching the source", 1)
	l.becomes(t, "token=1")
	if n, _ := l.log.count("no file system events"); n != 0 {
		t.Errorf("logged %d times that there are no events", n)
	}
	if n := l.Stats().WatchErrors[reasonAdd]; n != 0 {
		t.Errorf("%d errors counted", n)
	}
}

// Values that share a Watcher poll at few moments, and each of them as often as its
// interval says.
func TestPollsOfASharedWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every, values = 10 * time.Second, 200
		began := time.Now()
		var mu sync.Mutex
		polls := make([][]time.Duration, values)
		moments := make(map[time.Duration]int)
		w := new(Watcher)
		for i := range polls {
			src := sourceFunc(func() (Content, error) {
				if at := time.Since(began); at > time.Second {
					mu.Lock()
					defer mu.Unlock()
					polls[i] = append(polls[i], at)
					moments[at]++
				}
				return Content{Data: []byte("0")}, nil
			})
			open(t, src, Options{Poll: every, Debounce: -1, Watcher: w}).run(t)
			if i == values/2 {
				time.Sleep(300 * time.Millisecond) // the ticks do not depend on when a Value starts
			}
		}
		time.Sleep(time.Until(began.Add(6 * every)))
		mu.Lock()
		defer mu.Unlock()
		if len(moments) > 6*pollTicks {
			t.Errorf("polled at %d moments, want at most %d", len(moments), 6*pollTicks)
		}
		for at, n := range moments {
			if n > values/2 {
				t.Errorf("%d of %d Values polled at once, after %v", n, values, at)
			}
		}
		for _, p := range polls {
			if len(p) < 5 || p[0] > 11*time.Second {
				t.Errorf("polls after %v", p)
			}
			for i := range p[1:] {
				if gap := p[i+1] - p[i]; gap < every*9/10 || gap > every {
					t.Errorf("%v between two polls", gap)
				}
			}
		}
	})
}

// An error of the events does not concern a Value that uses none.
func TestWatcherErrorWithoutEvents(t *testing.T) {
	w := new(Watcher)
	s := w.subscribe()
	defer s.close()
	w.handleError(syscall.EIO)
	if events, woken := s.takePending(); woken || events.lost || len(events.errors) > 0 {
		t.Errorf("woken: %t, events: %+v", woken, events)
	}
}

// The first poll comes within the interval, wherever between two ticks a Value starts.
func TestFirstPollComesWithinTheInterval(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Second, 10*time.Second - 1, minPoll} {
		tick := every / pollTicks
		for _, late := range []time.Duration{0, 1, tick / 2, tick - 1, 7*tick + tick*2/3} {
			synctest.Test(t, func(t *testing.T) {
				w := new(Watcher)
				var mu sync.Mutex
				var began time.Time
				first := make([]time.Duration, 100)
				values := make([]*live, len(first))
				for i := range values {
					values[i] = open(t, sourceFunc(func() (Content, error) {
						mu.Lock()
						defer mu.Unlock()
						if at := time.Since(began); at > 0 && first[i] == 0 {
							first[i] = at
						}
						return Content{Data: []byte("0")}, nil
					}), Options{Poll: every, Debounce: -1, Watcher: w})
				}
				defer w.subscribe().close() // the ticks count from here
				time.Sleep(late)
				mu.Lock()
				began = time.Now()
				clear(first)
				mu.Unlock()
				for _, v := range values {
					v.run(t)
				}
				time.Sleep(2 * every)
				mu.Lock()
				defer mu.Unlock()
				for _, at := range first {
					if at == 0 || at > every {
						t.Errorf("every %v, started %v after the Watcher: the first poll came after %v", every, late, at)
						break
					}
				}
			})
		}
	}
}
