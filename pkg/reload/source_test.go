package reload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// While a directory is swapped continuously, a read never returns keys of two versions,
// and never misses a key that all versions have.
func TestDirNeverMixes(t *testing.T) {
	dir := t.TempDir()
	keys := []string{"a", "b", "c", "d"}
	write := func(i int) error {
		payload := make(map[string][]byte)
		for _, k := range keys {
			payload[k] = fmt.Append(nil, i)
		}
		return kubemount.Write(dir, payload, 0o400)
	}
	check(t, write(0))
	whole := func(c Content) error {
		for _, k := range keys {
			if v, ok := c.Keys[k]; !ok || string(v) != string(c.Keys["a"]) {
				return fmt.Errorf("keys of two versions: %q", c.Keys)
			}
		}
		return nil
	}
	v, err := Open(Dir(dir, keys...), func(_ *Content, c Content, _ time.Time) (*Content, error) {
		return &c, whole(c)
	}, quick())
	check(t, err)
	l := &live{log: newJournal()}
	l.Value, err = Open(Dir(dir, keys...), joined, quick())
	check(t, err)
	l.run(t)
	const versions = 800
	done := make(chan error, 1)
	go func() {
		for i := 1; i <= versions; i++ {
			if err := write(i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	src := Dir(dir, keys...)
	reads := 0
	for writing := true; writing; reads++ {
		select {
		case err := <-done:
			check(t, err)
			writing = false
		default:
		}
		c, err := src.Read(t.Context(), 1<<20)
		if err != nil && !errors.Is(err, errUnsteady) {
			t.Fatalf("read %d: %v", reads, err)
		}
		if err == nil {
			check(t, whole(c))
		}
	}
	t.Logf("%d reads of %d versions", reads, versions)
	if _, err := v.Reload(); err != nil {
		t.Error(err)
	}
	l.becomes(t, fmt.Sprintf("a=%[1]d b=%[1]d c=%[1]d d=%[1]d", versions))
}

func TestDirReads(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "1")
	put(t, filepath.Join(dir, "empty"), "")
	c, err := Dir(dir, "a", "empty", "absent").Read(t.Context(), 10)
	check(t, err)
	if got, _ := joined(nil, c, time.Time{}); deref(got) != "a=1 empty=" {
		t.Errorf("keys: %s", deref(got))
	}
	if c.Data != nil {
		t.Errorf("data beside the keys: %q", c.Data)
	}
	if c, err := Dir(dir, "absent").Read(t.Context(), 10); err != nil || c.Keys == nil || len(c.Keys) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	put(t, filepath.Join(dir, "b"), "0123456789")
	if _, err := Dir(dir, "a", "b").Read(t.Context(), 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit in total: %v", err)
	}
	if _, err := Dir(dir, "b").Read(t.Context(), 10); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	if _, err := Dir(dir, "sub").Read(t.Context(), 10); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory as key: %v", err)
	}
	check(t, os.Symlink("gone", filepath.Join(dir, "..data")))
	if _, err := Dir(dir, "a").Read(t.Context(), 10); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("..data leads nowhere: %v", err)
	}
}

func TestPathKindIsFixed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p")
	src := Path(path, "token")
	if _, err := src.Read(t.Context(), 10); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	check(t, os.Mkdir(path, 0o700))
	put(t, filepath.Join(path, "token"), "1")
	if c, err := src.Read(t.Context(), 10); err != nil || string(c.Keys["token"]) != "1" {
		t.Errorf("%+v, %v", c, err)
	}
	check(t, os.RemoveAll(path))
	put(t, path, "1")
	if _, err := src.Read(t.Context(), 10); err == nil || !strings.Contains(err.Error(), "directory when first read") {
		t.Errorf("a file now: %v", err)
	}
	src = Path(path, "token")
	if c, err := src.Read(t.Context(), 10); err != nil || string(c.Data) != "1" {
		t.Errorf("%+v, %v", c, err)
	}
	check(t, os.Remove(path), os.Mkdir(path, 0o700))
	if _, err := src.Read(t.Context(), 10); err == nil || !strings.Contains(err.Error(), "file when first read") {
		t.Errorf("a directory now: %v", err)
	}
}

func TestErrorsNameTheFix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	relink(t, "gone", path)
	_, err := File(path).Read(t.Context(), 10)
	want := path + ": " + filepath.Join(dir, "gone") + ": no such file or directory; create it, or correct the path"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700), os.MkdirAll(filepath.Join(dir, "other"), 0o700))
	put(t, filepath.Join(dir, "a", "f"), "1")
	relink(t, "../a/b", filepath.Join(dir, "other", "link"))
	// After a symlink, ".." is the parent of its target.
	p, err := resolve(dir + "/other/link/.././f")
	if err != nil || p.end != filepath.Join(dir, "a", "f") || len(p.links()) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = resolve(dir + "/other/link/.."); err != nil || p.end != filepath.Join(dir, "a") || !p.info.IsDir() {
		t.Errorf("%+v, %v", p, err)
	}
	relink(t, "loop2", filepath.Join(dir, "loop1"))
	relink(t, "loop1", filepath.Join(dir, "loop2"))
	if _, err := resolve(filepath.Join(dir, "loop1")); err == nil {
		t.Error("a loop of symlinks was resolved")
	}
	if _, err := resolve("/"); err != nil {
		t.Errorf("the root: %v", err)
	}
	want := dirsToWatch(p.steps)
	if in := want[filepath.Dir(dir)]; in.allNames || !slices.Equal(in.names, []string{filepath.Base(dir)}) || in.required {
		t.Errorf("an ancestor: %+v", in)
	}
	t.Chdir(dir)
	if c, err := File("a/f").Read(t.Context(), 10); err != nil || c.Path != "a/f" {
		t.Errorf("relative: %+v, %v", c, err)
	}
}
