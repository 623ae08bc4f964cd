package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// private returns a directory that only we can write, and a path in it.
func private(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "tokens.state")
}

func stored(t *testing.T) string {
	t.Helper()
	path := private(t)
	if err := put(path, "first"); err != nil {
		t.Fatal(err)
	}
	return path
}

// put replaces the payload of a file that is missing, damaged or ours.
func put(path, text string) error {
	return Update(path, func(_ []byte, err error) ([]byte, error) {
		if errors.Is(err, ErrForeign) {
			return nil, err
		}
		return []byte(text), nil
	})
}

func TestUpdateAndLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "made", "tokens.state")
	for _, text := range []string{"one", "two words", ""} {
		if err := put(path, text); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if dir, _ := os.Stat(filepath.Dir(path)); dir.Mode().Perm() != 0o700 {
		t.Errorf("the directory was made with mode %v", dir.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files left, want one", len(left))
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	for _, path := range []string{private(t), filepath.Join(t.TempDir(), "no", "state")} {
		if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that it does not exist", err)
		}
	}
	deep := filepath.Join(t.TempDir(), "no", "such", "state")
	if err := put(deep, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), deep) {
		t.Errorf("%v, want that its directory is missing", err)
	}
}

func TestDamagedFileIsReplaced(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"cut": header + "fir", "empty": "", "header only": header,
	} {
		path := stored(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want damaged", name, err)
		}
		if err := put(path, "new"); err != nil {
			t.Errorf("%s: not replaced: %v", name, err)
		}
	}
}

// TestForeignIsNeitherReadNorReplaced loads and updates files that another user may have
// put at the path.
func TestForeignIsNeitherReadNorReplaced(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"readable by a group": func(t *testing.T, path string) { t.Helper(); must(t, os.Chmod(path, 0o640)) },
		"read-only":           func(t *testing.T, path string) { t.Helper(); must(t, os.Chmod(path, 0o400)) },
		"another user": func(t *testing.T, path string) {
			t.Helper()
			if os.Geteuid() != 0 {
				t.Skip("giving files away is for root")
			}
			must(t, os.Chown(path, 65534, -1))
		},
		"a link": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Rename(path, path+".real"))
			must(t, os.Symlink(filepath.Base(path)+".real", path))
		},
		"a file of somebody else's": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.WriteFile(path, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n"), 0o600))
		},
		"a directory": func(t *testing.T, path string) { t.Helper(); must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o600)) },
		"a group writes the directory": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Chmod(filepath.Dir(path), 0o720))
		},
		"others write the directory": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Chmod(filepath.Dir(path), 0o702))
		},
		"a sticky directory": func(t *testing.T, path string) {
			t.Helper()
			must(t, os.Chmod(filepath.Dir(path), 0o777|fs.ModeSticky))
		},
		"another user's directory": func(t *testing.T, path string) {
			t.Helper()
			if os.Geteuid() != 0 {
				t.Skip("giving directories away is for root")
			}
			must(t, os.Chown(filepath.Dir(path), 65534, -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := stored(t)
			spoil(t, path)
			before, _ := os.Lstat(path)
			if _, err := Load(path); !errors.Is(err, ErrForeign) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("loaded: %v", err)
			}
			if err := put(path, "new"); !errors.Is(err, ErrForeign) {
				t.Errorf("replaced: %v", err)
			}
			if after, _ := os.Lstat(path); after.Mode() != before.Mode() || !os.SameFile(before, after) {
				t.Error("it is another file now")
			}
		})
	}
}

// TestStoreIsBounded: a payload that is too large to be read again is not written.
func TestStoreIsBounded(t *testing.T) {
	t.Parallel()
	path := stored(t)
	if err := put(path, strings.Repeat("x", maxBytes)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v, want an error", err)
	}
	if got, err := Load(path); err != nil || string(got) != "first" {
		t.Errorf("the old one is lost: %v", err)
	}
	if err := put(path, strings.Repeat("x", maxBytes-200)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

// TestUpdatesExcludeEachOther appends to the payload in several goroutines.
func TestUpdatesExcludeEachOther(t *testing.T) {
	t.Parallel()
	path := private(t)
	var all sync.WaitGroup
	const each = 20
	for range 4 {
		all.Go(func() {
			for range each {
				if err := Update(path, func(old []byte, err error) ([]byte, error) {
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						return nil, err
					}
					return append(old, 'x'), nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got, err := Load(path); err != nil || len(got) != 4*each {
		t.Errorf("%d updates are in it, want %d: %v", len(got), 4*each, err)
	}
}

// TestLeftoverIsReplaced: a process may have been killed while it wrote.
func TestLeftoverIsReplaced(t *testing.T) {
	t.Parallel()
	path := stored(t)
	if err := os.WriteFile(path+tempSuffix, []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := put(path, "new"); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(path); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left, want one", len(left))
	}
}

// TestUpdateRemovesNoOtherFile: another program may keep a file beside ours.
func TestUpdateRemovesNoOtherFile(t *testing.T) {
	t.Parallel()
	path := stored(t)
	if err := os.WriteFile(path+".tmp", []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(path, "new"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path + ".tmp"); err != nil || string(text) != "a token" {
		t.Errorf("%q, %v", text, err)
	}
}
