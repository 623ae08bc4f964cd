package reload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// twoFiles returns a file in a volume of the kubelet, and one in a plain directory.
func twoFiles(t *testing.T) (mount, a, b string) {
	t.Helper()
	mount, other := t.TempDir(), t.TempDir()
	swapKeys(t, mount, "a", "0")
	a, b = filepath.Join(mount, "a"), filepath.Join(other, "b")
	put(t, b, "0")
	return mount, a, b
}

// both returns the state for two files and their contents, as joined does.
func both(a, inA, b, inB string) string {
	parts := []string{a + "=" + inA, b + "=" + inB}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// P1 for each of several files: no poll and no Debounce ends during the test.
func TestFilesAtOnce(t *testing.T) {
	mount, a, b := twoFiles(t)
	l := start(t, Files(a, b), Options{Poll: -1, Debounce: time.Hour})
	swapKeys(t, mount, "a", "1")
	l.becomes(t, both(a, "1", b, "0"))
	replace(t, b, "1")
	l.becomes(t, both(a, "1", b, "1"))
	swapKeys(t, mount, "a", "2")
	l.becomes(t, both(a, "2", b, "1"))
}

// A file that is being written is not accepted before the Debounce, even if the other
// file was replaced by a swap.
func TestFilesNeverTorn(t *testing.T) {
	const debounce = 300 * time.Millisecond
	mount, a, b := twoFiles(t)
	l := start(t, Files(a, b), Options{Poll: -1, Debounce: debounce})
	f, err := os.OpenFile(b, os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	_, err = f.WriteString("new")
	check(t, err)
	swapKeys(t, mount, "a", "1")
	writeSlowly(t, f, debounce/10, "-", "whole")
	l.becomes(t, both(a, "1", b, "new-whole"))
	for _, got := range l.accepted() {
		if strings.Contains(got, "new") && !strings.Contains(got, "new-whole") {
			t.Errorf("accepted %q before the write was complete", got)
		}
	}
}

// A missing file is an error, and its return is noticed by events alone.
func TestFilesOneIsMissing(t *testing.T) {
	_, a, b := twoFiles(t)
	for _, src := range []Source{Files(a, b), Files(b, a)} {
		l := start(t, src, quick())
		was := *l.Load()
		check(t, os.Rename(b, b+".old"))
		l.log.await(t, "no such file", 1)
		if got := *l.Load(); got != was {
			t.Errorf("it became %q", got)
		}
		if err := l.Stats().LastError; !strings.HasPrefix(err.Error(), b+": ") {
			t.Errorf("%v; want it to name %s", err, b)
		}
		put(t, b, "back "+was[len(was)-1:])
		l.becomes(t, both(a, "0", b, "back "+was[len(was)-1:]))
		put(t, b, "0")
		l.becomes(t, was)
	}
}

func TestFilesRead(t *testing.T) {
	_, a, b := twoFiles(t)
	c, err := Files(a, b).Read(t.Context(), 1)
	check(t, err)
	if got, _ := joined(nil, c, time.Time{}); deref(got) != both(a, "0", b, "0") {
		t.Errorf("keys: %s", deref(got))
	}
	if c.Data != nil {
		t.Errorf("data beside the keys: %q", c.Data)
	}
	put(t, b, "more")
	if c, err := Files(a, b).Read(t.Context(), 1); !errors.Is(err, ErrTooLarge) || len(c.Keys) > 0 {
		t.Errorf("%d keys, %v", len(c.Keys), err)
	}
	if _, err := Files(a, b+"-none").Read(t.Context(), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// P1 for the keys that match a pattern: one appears, changes and disappears without a poll,
// in a volume of the kubelet and in a plain directory.
func TestPatternsOfADirectory(t *testing.T) {
	t.Run("kubelet", func(t *testing.T) {
		dir := t.TempDir()
		swapKeys(t, dir, "token", "0")
		l := start(t, Dir(dir, "token", "token.*"), Options{Poll: -1, Debounce: time.Hour})
		swapKeys(t, dir, "token", "0", "token.a", "1", "token-next.a", "other", "token.b", "2")
		l.becomes(t, "token.a=1 token.b=2 token=0")
		swapKeys(t, dir, "token", "0", "token.b", "3")
		l.becomes(t, "token.b=3 token=0")
	})
	t.Run("plain directory", func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "token"), "0")
		l := start(t, Dir(dir, "token", "token.*"), Options{Poll: -1, Debounce: time.Hour})
		check(t, os.Mkdir(filepath.Join(dir, "token.d"), 0o700))
		replace(t, filepath.Join(dir, "token.a"), "1")
		l.becomes(t, "token.a=1 token=0")
		replace(t, filepath.Join(dir, "token.a"), "2")
		l.becomes(t, "token.a=2 token=0")
	})
	t.Run("written slowly, behind a symlink", func(t *testing.T) {
		top := t.TempDir()
		dir := filepath.Join(top, "d")
		check(t, os.Mkdir(dir, 0o700))
		put(t, filepath.Join(dir, "token"), "0")
		relink(t, "d", filepath.Join(top, "link"))
		const debounce = 300 * time.Millisecond
		l := start(t, Dir(filepath.Join(top, "link"), "token", "token.*"), Options{Poll: 10 * time.Millisecond, PollOnly: true, Debounce: debounce})
		f, err := begun(filepath.Join(dir, "token.a"))
		check(t, err)
		writeSlowly(t, f, debounce/10, "-", "whole")
		l.becomes(t, "token.a=new-whole token=0")
		if got := l.accepted(); len(got) != 2 {
			t.Errorf("accepted %q before the write was complete", got)
		}
	})
	t.Run("too many", func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "f"), "")
		for i := range maxNames {
			check(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, fmt.Sprint("token.", i))))
		}
		put(t, filepath.Join(dir, "token"), "0")
		c, err := Dir(dir, "token", "token.*").Read(t.Context(), 1<<20)
		if string(c.Keys["token"]) != "0" || !c.Partial {
			t.Errorf("read %d keys, partial: %t; want the key that is no pattern", len(c.Keys), c.Partial)
		}
		if want := "more than 20000; put the tokens into one file"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	})
}
