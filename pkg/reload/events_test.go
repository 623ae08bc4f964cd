package reload

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// following returns a subscription and a function. The function calls its argument and
// waits until all events that this causes in dir have arrived.
func following(t *testing.T, dir string) (s *subscription, doAndWait func(func())) {
	t.Helper()
	w := new(Watcher)
	s, last := w.subscribe(), w.subscribe()
	t.Cleanup(func() { s.close(); last.close() })
	return s, func(do func()) {
		t.Helper()
		watch(t, last, []pathStep{{dir: dir, name: "last"}})
		do()
		put(t, filepath.Join(dir, "last"), "")
		select {
		case <-last.wake: // events come in order
		case <-time.After(patience):
			t.Fatal("no event")
		}
	}
}

func watch(t *testing.T, s *subscription, steps []pathStep) {
	t.Helper()
	_, err := s.watch(steps)
	check(t, err)
}

// eventsOf calls do, and returns the pending events of path after that.
func eventsOf(t *testing.T, dir, path string, do func()) pendingEvents {
	t.Helper()
	s, doAndWait := following(t, dir)
	watch(t, s, []pathStep{{dir: dir, name: filepath.Base(path), last: true}})
	doAndWait(do)
	n, woken := s.takePending()
	if !woken {
		t.Error("not woken")
	}
	if _, again := s.takePending(); again {
		t.Error("an event was returned twice")
	}
	return n
}

// A write to a file is pending, unless another file took its place since.
func TestPendingEventsOfWrites(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(t *testing.T, path, elsewhere string)
		written bool
	}{
		"renamed over": {do: func(t *testing.T, path, _ string) { t.Helper(); replace(t, path, "1") }},
		"created":      {do: func(t *testing.T, path, _ string) { t.Helper(); put(t, path, "1") }, written: true},
		"renamed from an unwatched directory": {do: func(t *testing.T, path, elsewhere string) {
			t.Helper()
			put(t, elsewhere, "1")
			check(t, os.Rename(elsewhere, path))
		}},
		"renamed over, then written to": {do: func(t *testing.T, path, _ string) {
			t.Helper()
			replace(t, path, "1")
			put(t, path, "2")
		}, written: true},
		"written to, then renamed over": {do: func(t *testing.T, path, _ string) {
			t.Helper()
			put(t, path, "1")
			replace(t, path, "2")
		}},
		"written to, then deleted and created": {do: func(t *testing.T, path, _ string) {
			t.Helper()
			put(t, path, "1")
			check(t, os.Remove(path))
			put(t, path, "2")
		}, written: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, "token")
			put(t, path, "0")
			n := eventsOf(t, dir, path, func() { c.do(t, path, filepath.Join(other, "token")) })
			if n.written[path] != c.written || n.lost {
				t.Errorf("written %t, lost %t; want written %t", n.written[path], n.lost, c.written)
			}
		})
	}
}

// P1: a file that was renamed into place is accepted after the grace, without a poll. P4: a
// file that was created there, or was written to between the event and the read, waits for
// the Debounce, because the event of the write arrives within the grace.
func TestP1_RenameNeedsOnlyTheGrace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the events of Linux")
	}
	rename := func(t *testing.T, path string) { t.Helper(); replace(t, path, "1") }
	for name, c := range map[string]struct {
		do, after func(t *testing.T, path string)
		accepted  bool
	}{
		"renamed": {do: rename, accepted: true},
		"created": {do: func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Rename(path, path+".old"), os.WriteFile(path, []byte("1"), 0o600))
		}},
		"renamed, then appended to": {do: rename, after: func(t *testing.T, path string) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = f.WriteString("HALF")
			check(t, err, f.Close())
		}},
		"renamed, then overwritten": {do: rename, after: func(t *testing.T, path string) { t.Helper(); put(t, path, "HALF") }},
		"renamed, then deleted and created": {do: rename, after: func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Remove(path))
			put(t, path, "HALF")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "token")
			put(t, path, "0")
			src := File(path).(*fileSource)
			read := src.read
			late := func() {} // runs between the taking of events and the read
			src.read = func(maxBytes int64) reading { late(); return read(maxBytes) }
			l := open(t, src, Options{Poll: -1, Debounce: time.Hour})
			s, doAndWait := following(t, dir)
			l.readAndWatch(t.Context(), s, false)
			doAndWait(func() { c.do(t, path) })
			if c.after != nil {
				late = func() { late = func() {}; c.after(t, path) }
			}
			if l.readAndWatch(t.Context(), s, true); *l.Load() != "0" {
				t.Fatalf("accepted %q without the grace", *l.Load())
			}
			doAndWait(func() { sleep(t.Context(), grace) }) // all earlier events have arrived, too
			wait := l.readAndWatch(t.Context(), s, true)
			for wait > 0 && wait <= grace { // this read came late
				sleep(t.Context(), wait)
				wait = l.readAndWatch(t.Context(), s, true)
			}
			if accepted := *l.Load() != "0"; accepted != c.accepted || (wait == 0) != c.accepted {
				t.Errorf("state %q, wait %v", *l.Load(), wait)
			}
		})
	}
}

// An event that arrives before a read with another cause counts for that read.
func TestEventBeforeAPoll(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, elsewhere := filepath.Join(dir, "token"), filepath.Join(other, "token")
	put(t, path, "0")
	l := open(t, File(path), Options{Poll: -1, Debounce: time.Hour})
	s, doAndWait := following(t, dir)
	l.readAndWatch(t.Context(), s, false)
	put(t, elsewhere, "1")
	doAndWait(func() { check(t, os.Rename(elsewhere, path)) })
	if wait := l.readAndWatch(t.Context(), s, false); wait <= 0 || wait > grace {
		t.Errorf("wait %v", wait)
	}
}

// A new file needs the Debounce if events were lost: one of them may be a write to it.
func TestNewFileAfterLostEvents(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, "0")
	l := open(t, File(path), Options{Poll: -1, Debounce: time.Hour})
	s, doAndWait := following(t, dir)
	l.readAndWatch(t.Context(), s, false)
	doAndWait(func() { replace(t, path, "1") })
	s.w.handleError(fsnotify.ErrEventOverflow)
	if wait := l.readAndWatch(t.Context(), s, true); wait <= grace || *l.Load() != "0" {
		t.Errorf("state %q, wait %v", *l.Load(), wait)
	}
}

// When one subscription finds that a directory was replaced, the others that share the
// Watcher have missed events of it too.
func TestReplacedDirectoryWakesAllSubscriptions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	check(t, os.Mkdir(dir, 0o700))
	w := new(Watcher)
	one, other := w.subscribe(), w.subscribe()
	defer one.close()
	defer other.close()
	steps := []pathStep{{dir: dir, name: "token", last: true}}
	watch(t, one, steps)
	watch(t, other, steps)
	check(t, os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o700))
	watch(t, one, steps)
	if events, woken := other.takePending(); !events.lost || !woken {
		t.Errorf("lost %t, woken %t", events.lost, woken)
	}
}

// P1: the kubelet removes the directory of the old version. That must not delay the new
// version of another file, as lost events would.
func TestP1_RemovedDirectoryLosesNoEvents(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "..old")
	check(t, os.Mkdir(old, 0o700))
	w := new(Watcher)
	s := w.subscribe()
	defer s.close()
	watch(t, s, []pathStep{{dir: old, name: "token", last: true}})
	w.handleEvent(fsnotify.Event{Name: old, Op: fsnotify.Remove})
	if events, woken := s.takePending(); events.lost || !woken {
		t.Errorf("lost %t, woken %t", events.lost, woken)
	}
	if s.isWatched(old) {
		t.Error("a removed directory counts as watched")
	}
}

// fsnotify reports a file in the root directory with two slashes.
func TestWriteInTheRoot(t *testing.T) {
	w := new(Watcher)
	s := w.subscribe()
	defer s.close()
	s.dirs = dirsToWatch([]pathStep{{dir: "/", name: "token", last: true}})
	w.handleEvent(fsnotify.Event{Name: "//token", Op: fsnotify.Write})
	if n, _ := s.takePending(); !n.written["/token"] {
		t.Errorf("%+v", n)
	}
}

// checkOrigins reads repeatedly while swap changes the target of a symlink, and checks that
// the origin of each read names the file that was read.
func checkOrigins(t *testing.T, dir string, swap func(i int, link func(target string))) {
	t.Helper()
	path := filepath.Join(dir, "token")
	link := func(target string) {
		tmp := path + ".tmp"
		_ = os.Symlink(target, tmp)
		_ = os.Rename(tmp, path)
	}
	swap(0, link)
	src := File(path).(*fileSource)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				swap(i, link)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 10000 {
		r := src.read(1 << 10)
		if r.err != nil {
			continue // the file changes too fast to be read
		}
		target := "no link"
		if links := r.origin.files[""].links; len(links) > 0 {
			target = links[len(links)-1].target
		}
		if text := string(r.content.Data); text != target {
			t.Fatalf("read %q, but the origin has a link to %q", text, target)
		}
	}
}

func TestOriginNamesTheFileThatWasRead(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "a")
	put(t, filepath.Join(dir, "b"), "b")
	checkOrigins(t, dir, func(i int, link func(string)) { link([]string{"a", "b"}[i%2]) })
}

// The same if each file is removed after the next one was created, so that a later file can
// get its inode number.
func TestOriginWithReusedInodes(t *testing.T) {
	dir := t.TempDir()
	checkOrigins(t, dir, func(i int, link func(string)) {
		name := strconv.Itoa(i)
		_ = os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600)
		link(name)
		_ = os.Remove(filepath.Join(dir, strconv.Itoa(i-1)))
	})
}

// The same if the path is a symlink and a file in turn: a symlink that replaces the file
// before it is opened must not be followed.
func TestOriginOfAlternatingFileAndLink(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "a")
	checkOrigins(t, dir, func(i int, link func(string)) {
		if link("a"); i > 0 {
			tmp := filepath.Join(dir, "plain")
			_ = os.WriteFile(tmp, []byte("no link"), 0o600)
			_ = os.Rename(tmp, filepath.Join(dir, "token"))
		}
	})
}
