package reload

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// told does what do says in dir, and returns what a Watcher tells of path then.
func told(t *testing.T, dir, path string, do func()) news {
	t.Helper()
	w := NewWatcher()
	s, last := w.subscribe(), w.subscribe()
	defer func() { s.release(); last.release() }()
	s.arm(interests([]hop{{dir: dir, name: filepath.Base(path), last: true}}))
	last.arm(interests([]hop{{dir: dir, name: "last", last: false}}))
	do()
	put(t, filepath.Join(dir, "last"), "")
	select {
	case <-last.hints: // events come in order
	case <-time.After(patience):
		t.Fatal("no event")
	}
	n, hinted := s.take()
	if !hinted {
		t.Error("no hint")
	}
	if _, again := s.take(); again {
		t.Error("a hint that was taken is there still")
	}
	return n
}

// Only a rename within what is watched, after which nobody touched the file, is
// one step for sure.
func TestNewsOfRenames(t *testing.T) {
	for name, c := range map[string]struct {
		do             func(t *testing.T, path, elsewhere string)
		moved, written bool
	}{
		"renamed over":  {do: func(t *testing.T, path, _ string) { t.Helper(); replace(t, path, "1") }, moved: true},
		"made in place": {do: func(t *testing.T, path, _ string) { t.Helper(); put(t, path, "1") }, written: true},
		"renamed from where nobody looks": {do: func(t *testing.T, path, elsewhere string) {
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
		}, moved: true},
		"renamed over, then another made in place": {do: func(t *testing.T, path, _ string) {
			t.Helper()
			replace(t, path, "1")
			check(t, os.Remove(path))
			f, err := os.Create(path)
			check(t, err)
			check(t, f.Close())
		}},
		"moved away, and another made in place": {do: func(t *testing.T, path, _ string) {
			t.Helper()
			check(t, os.Rename(path, path+".old"))
			f, err := os.Create(path)
			check(t, err)
			check(t, f.Close())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			path := filepath.Join(dir, "token")
			put(t, path, "0")
			n := told(t, dir, path, func() { c.do(t, path, filepath.Join(other, "token")) })
			if n.moved[path] != c.moved || n.written[path] != c.written || n.lost {
				t.Errorf("moved %t, written %t; want %t, %t", n.moved[path], n.written[path], c.moved, c.written)
			}
		})
	}
}

// A name cannot pretend to come of a rename.
func TestNameThatLooksLikeARename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token\" ← \"old")
	if n := told(t, dir, path, func() { put(t, path, "1") }); n.moved[path] || !n.written[path] {
		t.Errorf("%+v", n)
	}
}

// P1: what is renamed into place is accepted by the read after that event, and
// what is made there waits.
func TestP1_RenameNeedsNoRest(t *testing.T) {
	for name, c := range map[string]struct {
		do       func(t *testing.T, path string)
		accepted bool
	}{
		"renamed": {func(t *testing.T, path string) { t.Helper(); replace(t, path, "1") }, true},
		"made": {func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Rename(path, path+".old"), os.WriteFile(path, []byte("1"), 0o600))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "token")
			put(t, path, "0")
			l := open(t, File(path), Options{Poll: -1, Debounce: time.Hour})
			w := NewWatcher()
			s, last := w.subscribe(), w.subscribe()
			defer func() { s.release(); last.release() }()
			l.pass(t.Context(), s, false)
			last.arm(interests([]hop{{dir: dir, name: "last"}}))
			c.do(t, path)
			put(t, filepath.Join(dir, "last"), "")
			<-last.hints
			wait := l.pass(t.Context(), s, true)
			if accepted := *l.Load() == "1"; accepted != c.accepted || (wait == 0) != c.accepted {
				t.Errorf("accepted %t, to wait %v", accepted, wait)
			}
		})
	}
}

// A hint that comes while another reason makes us read counts with that read.
func TestHintWithAnotherReason(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, elsewhere := filepath.Join(dir, "token"), filepath.Join(other, "token")
	put(t, path, "0")
	l := open(t, File(path), Options{Poll: -1, Debounce: time.Hour})
	w := NewWatcher()
	s, last := w.subscribe(), w.subscribe()
	defer func() { s.release(); last.release() }()
	l.pass(t.Context(), s, false)
	last.arm(interests([]hop{{dir: dir, name: "last"}}))
	put(t, elsewhere, "1")
	check(t, os.Rename(elsewhere, path))
	put(t, filepath.Join(dir, "last"), "")
	<-last.hints
	if wait := l.pass(t.Context(), s, false); wait <= 0 || wait > grace {
		t.Errorf("to wait %v", wait)
	}
}

// In the root directory fsnotify writes two slashes.
func TestWriteInTheRoot(t *testing.T) {
	w := NewWatcher()
	s := w.subscribe()
	defer s.release()
	s.want = interests([]hop{{dir: "/", name: "token", last: true}})
	w.event(fsnotify.Event{Name: "//token", Op: fsnotify.Write})
	if n, _ := s.take(); !n.written["/token"] {
		t.Errorf("%+v", n)
	}
}

// What a read says of the way to its file is the way to what it read, however
// often that changes meanwhile.
func TestEvidenceIsOfWhatWasRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, filepath.Join(dir, "a"), "a")
	put(t, filepath.Join(dir, "b"), "b")
	relink(t, "a", path)
	src := File(path).(*file)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				tmp := path + ".tmp"
				_ = os.Symlink([]string{"a", "b"}[i%2], tmp)
				_ = os.Rename(tmp, path)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 20000 {
		c, ev, err := src.track(1 << 10)
		if err != nil {
			continue // it changes faster than it can be read
		}
		if text, way := string(c.Data), ev.way[len(ev.way)-1].target; text != way {
			t.Fatalf("it read %q by a link to %q", text, way)
		}
	}
}
