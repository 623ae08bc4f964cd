package reload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// P1: an atomic swap is accepted without a poll and without the Debounce. Neither ends
// during the test.
func TestP1_AtomicSwapWithoutPoll(t *testing.T) {
	o := Options{Poll: -1, Debounce: time.Hour}
	t.Run("kubelet", func(t *testing.T) {
		dir := t.TempDir()
		swapKeys(t, dir, "token", "0")
		file, keys := start(t, File(filepath.Join(dir, "token")), o), start(t, Dir(dir, "token"), o)
		for i := 1; i <= 5; i++ {
			swapKeys(t, dir, "token", strconv.Itoa(i))
			file.becomes(t, strconv.Itoa(i))
			keys.becomes(t, fmt.Sprint("token=", i))
		}
	})
	t.Run("rename over", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		file, keys := start(t, File(path), o), start(t, Dir(dir, "token"), o)
		for i := 1; i <= 5; i++ {
			replace(t, path, strconv.Itoa(i))
			file.becomes(t, strconv.Itoa(i))
			keys.becomes(t, fmt.Sprint("token=", i))
		}
	})
	t.Run("link retargeted", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "token")
		put(t, filepath.Join(dir, "a"), "0")
		put(t, filepath.Join(dir, "b"), "1")
		relink(t, "a", path)
		l := start(t, File(path), o)
		relink(t, "b", path)
		l.becomes(t, "1")
	})
	t.Run("rename to where nothing was", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		o := o
		o.Wait = true
		l := start(t, File(path), o)
		replace(t, path, "1")
		l.becomes(t, "1")
	})
}

// P1: content that is written in place is accepted when it has not changed for the Debounce,
// and never sooner.
func TestP1_InPlaceAfterDebounce(t *testing.T) {
	const debounce, between = 300 * time.Millisecond, 30 * time.Millisecond
	for name, open := range map[string]func(path string) (*os.File, error){
		"append":             func(p string) (*os.File, error) { return os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0) },
		"truncate and write": func(p string) (*os.File, error) { return os.OpenFile(p, os.O_WRONLY|os.O_TRUNC, 0) },
		"delete and create": func(p string) (*os.File, error) {
			if err := os.Remove(p); err != nil {
				return nil, err
			}
			return os.Create(p)
		},
		// Moved and not deleted, because ext4 reuses the inode of a deleted file for
		// the next one, which then looks like a write in place.
		"move away and create, half at once": func(p string) (*os.File, error) {
			if err := os.Rename(p, p+".old"); err != nil {
				return nil, err
			}
			return begun(p)
		},
		"hard link": func(p string) (*os.File, error) {
			if err := os.Link(p, p+".bak"); err != nil {
				return nil, err
			}
			return os.OpenFile(p+".bak", os.O_WRONLY|os.O_TRUNC, 0)
		},
		"parent deleted and created": func(p string) (*os.File, error) {
			dir := filepath.Dir(p)
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				return nil, err
			}
			return os.Create(p)
		},
		// The new directory was not watched when the first half was written, nor is
		// it when the file is first read.
		"parent replaced, half at once": func(p string) (*os.File, error) {
			dir := filepath.Dir(p)
			fresh := dir + ".fresh"
			if err := os.Mkdir(fresh, 0o700); err != nil {
				return nil, err
			}
			f, err := begun(filepath.Join(fresh, filepath.Base(p)))
			return f, errors.Join(err, os.Rename(dir, dir+".old"), os.Rename(fresh, dir))
		},
	} {
		for watch, o := range map[string]Options{
			"events":  {Poll: -1, Debounce: debounce},
			"both":    {Poll: 10 * time.Millisecond, Debounce: debounce},
			"polling": {Poll: 10 * time.Millisecond, Debounce: debounce, PollOnly: true},
		} {
			t.Run(name+" "+watch, func(t *testing.T) {
				t.Parallel()
				if name == "hard link" && watch == "events" {
					// inotify(7) reports a name, and this write has another.
					o.Poll = 10 * time.Millisecond
				}
				want, parts := "new-whole!", []string{"new", "-", "whole", "!"}
				tries := 1
				if strings.HasSuffix(name, "half at once") {
					parts = parts[1:]
					// The event of the first half comes within the grace, unless
					// the machine is too busy to run who passes it on.
					tries = 4
				}
				if name == "append" {
					want = "old-" + want
				}
				for {
					path := filepath.Join(t.TempDir(), "d", "token")
					check(t, os.Mkdir(filepath.Dir(path), 0o700))
					put(t, path, "old-")
					l := start(t, File(path), o)
					f, err := open(path)
					check(t, err)
					writeSlowly(t, f, between, parts...)
					written := time.Now()
					l.becomes(t, want)
					if took := time.Since(written); took < debounce-between {
						t.Errorf("accepted %v after the last write", took)
					}
					got := l.accepted()
					if slices.Equal(got, []string{"old-", want}) {
						return
					}
					if tries--; tries == 0 {
						t.Fatalf("accepted %q before the write was complete", got)
					}
				}
			})
		}
	}
}

// A file was half written before its directory was watched, so there is no event of the
// write.
func TestAppearsHalfWritten(t *testing.T) {
	top := t.TempDir()
	dir, fresh := filepath.Join(top, "d"), filepath.Join(top, "fresh")
	check(t, os.Mkdir(dir, 0o700), os.Mkdir(fresh, 0o700))
	path := filepath.Join(dir, "token")
	put(t, path, "old")
	l := start(t, File(path), Options{Poll: -1, Debounce: 300 * time.Millisecond})
	check(t, os.Rename(dir, dir+".old"))
	l.log.await(t, "no such file", 1)
	f, err := begun(filepath.Join(fresh, "token"))
	check(t, err, os.Rename(fresh, dir))
	writeSlowly(t, f, 50*time.Millisecond, "-", "whole")
	l.becomes(t, "new-whole")
	if got := l.accepted(); len(got) != 2 {
		t.Errorf("accepted %q before the write was complete", got)
	}
}

// begun returns a new file with the beginning of its content.
func begun(path string) (*os.File, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("new")
	return f, err
}

// bubble opens and runs a polling value under the fake clock of synctest.
func bubble(t *testing.T, src Source, o Options) *live {
	t.Helper()
	o.PollOnly = true
	return open(t, src, o).run(t)
}

// P1: without events, a change is accepted within a poll interval, its jitter and the
// Debounce.
func TestP1_NoEventsWithinPoll(t *testing.T) {
	dir := t.TempDir()
	for _, at := range []time.Duration{0, time.Millisecond, 5 * time.Second, 8999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(dir, "token")
			put(t, path, "old")
			l := bubble(t, File(path), Options{}) // the defaults
			synctest.Wait()
			time.Sleep(at)
			put(t, path, "new")
			began := time.Now()
			l.becomesWithin(t, "new", 20*time.Second)
			if took := time.Since(began); took > 11*time.Second+time.Second || took < time.Second {
				t.Errorf("written after %v: took %v", at, took)
			}
		})
	}
}

// becomesWithin is becomes with a deadline of fake time.
func (l *live) becomesWithin(t *testing.T, want string, within time.Duration) {
	t.Helper()
	for end := time.After(within); ; {
		updated := l.Updated()
		if deref(l.Load()) == want {
			return
		}
		select {
		case <-updated:
		case <-end:
			t.Fatalf("still %q after %v", deref(l.Load()), within)
		}
	}
}

// Each change within the Debounce starts the wait again. Content is accepted by the read that
// finds it unchanged after the Debounce.
func TestDebounceBoundary(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "token")
		put(t, path, "old")
		l := bubble(t, File(path), Options{Poll: 100 * time.Millisecond, Debounce: time.Second})
		synctest.Wait()
		for i := range 8 { // each pause well inside the Debounce
			put(t, path, strings.Repeat("x", i+1))
			time.Sleep(850 * time.Millisecond)
			if got := l.accepted(); len(got) != 1 {
				t.Fatalf("accepted %q while it was being written", got)
			}
		}
		// First read at most 110 ms after the last write, 850 ms ago.
		time.Sleep(149 * time.Millisecond)
		synctest.Wait()
		if got := deref(l.Load()); got != "old" {
			t.Fatalf("accepted %q inside the Debounce", got)
		}
		time.Sleep(112 * time.Millisecond)
		synctest.Wait()
		if got := deref(l.Load()); got != "xxxxxxxx" {
			t.Fatalf("is %q a Debounce after the last write", got)
		}
	})
}

// A symlink with a new target needs no event.
func TestRetargetNeedsNoDebounce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		swapKeys(t, dir, "token", "0")
		l := bubble(t, Dir(dir, "token"), Options{Poll: time.Second, Debounce: time.Hour})
		synctest.Wait()
		swapKeys(t, dir, "token", "1")
		l.becomesWithin(t, "token=1", 2*time.Second)
	})
}
