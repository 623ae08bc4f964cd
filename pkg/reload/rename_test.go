package reload

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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
