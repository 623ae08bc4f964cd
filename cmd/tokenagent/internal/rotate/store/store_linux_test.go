package store

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// asNobody runs f with the file permissions of another user (setfsuid(2)), on
// a thread that ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		if err := syscall.Setfsgid(65534); err != nil {
			t.Error(err)
		}
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
		}
		f()
	}()
	<-done
}

// open makes the way to path passable for others, as t.TempDir's is not.
func open(t *testing.T, path string) {
	t.Helper()
	for dir := path; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOwnersStay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	owner := func(path string) [2]uint32 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s := info.Sys().(*syscall.Stat_t)
		return [2]uint32{s.Uid, s.Gid}
	}
	path, dir := filepath.Join(t.TempDir(), "token"), t.TempDir()
	put(t, path, "one", 0o640)
	put(t, filepath.Join(dir, "token"), "one", 0o640)
	put(t, filepath.Join(dir, "token-next"), "two", 0o600)
	for p, id := range map[string]int{path: 1001, dir: 1001, filepath.Join(dir, "token"): 1002, filepath.Join(dir, "token-next"): 1003} {
		if err := os.Chown(p, id, id+1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := saveFile(t.Context(), loadFile(t, path), "two"); err != nil {
		t.Fatal(err)
	}
	edit := edits{"token": []byte("two"), "token-previous": []byte("one")}
	if err := loadDir(t, dir).Save(t.Context(), writes(edit)); err != nil {
		t.Fatal(err)
	}
	for p, id := range map[string]uint32{
		path: 1001, filepath.Join(dir, "token"): 1002,
		filepath.Join(dir, "token-next"): 1003, filepath.Join(dir, "token-previous"): 1002,
	} {
		if got := owner(p); got != [2]uint32{id, id + 1000} {
			t.Errorf("%s belongs to %v, not %d", p, got, id)
		}
	}
}

// What cannot be kept or written leaves everything as it was.
func TestNothingIsWrittenOnFailure(t *testing.T) {
	for name, c := range map[string]struct {
		mode os.FileMode // of the directory
		says string
	}{
		"read-only directory": {0o755, "run this as the owner of the directory"},
		"owner lost":          {0o777, "cannot keep the owner, user 0 and group 0"},
	} {
		t.Run(name, func(t *testing.T) {
			file, dir := t.TempDir(), t.TempDir()
			path := filepath.Join(file, "token")
			put(t, path, "one", 0o644)
			put(t, filepath.Join(dir, "token"), "one", 0o644)
			for _, d := range []string{file, dir} {
				open(t, d)
				if err := os.Chmod(d, c.mode); err != nil {
					t.Fatal(err)
				}
			}
			ctx := t.Context()
			asNobody(t, func() {
				f, err := readFile(ctx, path)
				if err == nil {
					err = saveFile(ctx, f, "two")
				}
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("file: %v; want %q", err, c.says)
				}
				d, err := readDir(ctx, dir, content.Names(""))
				if err == nil {
					err = d.Save(ctx, writes(edits{"token": []byte("two")}))
				}
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("directory: %v; want %q", err, c.says)
				}
			})
			for _, d := range []string{file, dir} {
				have(t, filepath.Join(d, "token"), "one")
				if got := list(t, d); !slices.Equal(got, []string{"token"}) {
					t.Errorf("left: %q", got)
				}
			}
		})
	}
}

// What is no regular file, or too large, is refused and hangs nobody.
func TestOddFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	fifo, large, key := filepath.Join(dir, "fifo"), filepath.Join(dir, "large"), filepath.Join(dir, "token")
	for _, path := range []string{fifo, key} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(t, large, strings.Repeat("x", 4<<20+1), 0o600)
	for _, path := range []string{fifo, large, "/dev/zero"} {
		if _, err := readFile(t.Context(), path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
	if _, err := readDir(t.Context(), dir, content.Names("")); err == nil {
		t.Error("a directory with a named pipe was read")
	}
	linked := t.TempDir()
	put(t, filepath.Join(dir, "elsewhere"), "one", 0o600)
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(linked, "token")); err != nil {
		t.Fatal(err)
	}
	err := loadDir(t, linked).Save(t.Context(), writes(edits{"token": []byte("two")}))
	if err == nil || !strings.Contains(err.Error(), "key token is no regular file") {
		t.Error(err)
	}
	have(t, filepath.Join(dir, "elsewhere"), "one")
}
