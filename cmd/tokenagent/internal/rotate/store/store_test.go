package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func have(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

func loadFile(t *testing.T, path string) *files {
	t.Helper()
	f, err := readFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func loadDir(t *testing.T, path string) *files {
	t.Helper()
	d, err := readDir(t.Context(), path, content.Names(""))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func saveFile(ctx context.Context, f *files, text string) error {
	return f.Save(ctx, [][]content.Write{{{Key: f.file, Value: []byte(text)}}})
}

// edits are new values of keys, nil for those to be removed.
type edits map[string][]byte

// writes returns e in the order in which a rotation writes.
func writes(e edits) [][]content.Write {
	var out []content.Write
	for _, key := range []string{"token-unrevoked", "token-revoked", "token-retired", "token-previous", "token-previous-until", "token", "token-next"} {
		if value, there := e[key]; there {
			out = append(out, content.Write{Key: key, Value: value})
		}
	}
	return [][]content.Write{out}
}

// list returns what a directory holds.
func list(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(t.TempDir(), "link")
	put(t, path, "one", 0o640)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(link))
	for _, p := range []string{path, link, "link"} {
		before, _ := os.Stat(path)
		if err := saveFile(t.Context(), loadFile(t, p), "two via "+p); err != nil {
			t.Fatal(err)
		}
		have(t, path, "two via "+p)
		after, _ := os.Stat(path)
		if os.SameFile(before, after) || after.Mode() != before.Mode() {
			t.Errorf("%s: written in place, or its mode is %v", p, after.Mode())
		}
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if got := list(t, dir); !slices.Equal(got, []string{"real"}) {
		t.Errorf("left: %q", got)
	}
}

// A rotation that was killed leaves its new file, with tokens in it, until the
// next one. What only looks like it stays.
func TestLeftoversGo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, "one", 0o600)
	random := strings.Repeat("A2", 13)
	for _, name := range []string{".token.tokenagent-" + random, ".token.tokenagent-" + strings.Repeat("B", 26)} {
		put(t, filepath.Join(dir, name), "two", 0o600)
	}
	others := []string{".other.tokenagent-" + random, "token.tokenagent-" + random}
	for _, name := range others {
		put(t, filepath.Join(dir, name), "theirs", 0o600)
	}
	link := ".token.tokenagent-" + strings.Repeat("C", 26)
	if err := os.Symlink(path, filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	if err := saveFile(t.Context(), loadFile(t, path), "two"); err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(others, []string{"token", link})
	slices.Sort(want)
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}

// Two operators: the second one's change is refused, not lost.
func TestChangesMeanwhileAreNoticed(t *testing.T) {
	for name, meanwhile := range map[string]func(path string) error{
		"written in place": func(p string) error { return os.WriteFile(p, []byte("theirs"), 0o600) },
		"removed":          os.Remove,
		"now a link":       func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) },
	} {
		t.Run("file "+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			put(t, path, "one", 0o600)
			f := loadFile(t, path)
			if err := meanwhile(path); err != nil {
				t.Fatal(err)
			}
			before := list(t, filepath.Dir(path))
			if err := saveFile(t.Context(), f, "ours"); !errors.Is(err, ErrChanged) {
				t.Fatal(err)
			}
			if after := list(t, filepath.Dir(path)); !slices.Equal(before, after) {
				t.Errorf("was %q, is %q", before, after)
			}
			if text, _ := os.ReadFile(path); string(text) == "ours" {
				t.Error("overwritten")
			}
		})
	}
	for name, meanwhile := range map[string]func(dir string) error{
		"another key":   func(d string) error { return os.WriteFile(filepath.Join(d, "token-next"), []byte("theirs"), 0o600) },
		"other content": func(d string) error { return os.WriteFile(filepath.Join(d, "token"), []byte("theirs"), 0o600) },
		"laid out": func(d string) error {
			return kubemount.Write(d, map[string][]byte{"token-next": []byte("theirs")}, 0o600)
		},
	} {
		t.Run("directory "+name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "token"), "one", 0o600)
			d := loadDir(t, dir)
			if err := meanwhile(dir); err != nil {
				t.Fatal(err)
			}
			before := list(t, dir)
			if err := d.Save(t.Context(), writes(edits{"token": []byte("ours")})); !errors.Is(err, ErrChanged) {
				t.Fatal(err)
			}
			if after := list(t, dir); !slices.Equal(before, after) {
				t.Errorf("was %q, is %q", before, after)
			}
		})
	}
}

// The source is compared again after the new files were written, which can take long.
func TestChangesWhileWritingAreNoticed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, "one", 0o600)
	unchanged := func(context.Context) error {
		if got := list(t, dir); len(got) != 2 {
			t.Errorf("compared before the new file was written: %q", got)
		}
		put(t, path, "theirs", 0o600)
		return ErrChanged
	}
	changes := []replacement{{path: path, data: []byte("ours"), like: path}}
	if err := replaceAll(t.Context(), changes, unchanged, func(replacement) error { return nil }); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	have(t, path, "theirs")
	if got := list(t, dir); !slices.Equal(got, []string{"token"}) {
		t.Errorf("left: %q", got)
	}
}

// Of many that read the same and write at once, one succeeds.
func TestOneOperatorWins(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "token"), t.TempDir()
	put(t, path, "one", 0o600)
	put(t, filepath.Join(dir, "token"), "one", 0o600)
	for name, replace := range map[string]func() func(text string) error{
		"file": func() func(string) error {
			f := loadFile(t, path)
			return func(text string) error { return saveFile(context.Background(), f, text) }
		},
		"directory": func() func(string) error {
			d := loadDir(t, dir)
			return func(text string) error {
				return d.Save(context.Background(), writes(edits{"token": []byte(text)}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ready []func(string) error
			for range 8 {
				ready = append(ready, replace())
			}
			errs := make([]error, len(ready))
			var all sync.WaitGroup
			for i, r := range ready {
				all.Go(func() { errs[i] = r(strings.Repeat("x", i+1)) })
			}
			all.Wait()
			won := 0
			for _, err := range errs {
				switch {
				case err == nil:
					won++
				case !errors.Is(err, ErrChanged) && !strings.Contains(err.Error(), "another rotation is running"):
					t.Error(err)
				}
			}
			if won != 1 {
				t.Errorf("%d won", won)
			}
		})
	}
}

func TestChangeable(t *testing.T) {
	root := t.TempDir()
	mkdir := func(elems ...string) string {
		dir := filepath.Join(append([]string{root}, elems...)...)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	kubelet, ours, plain, single := mkdir("volumes", "kubernetes.io~secret", "s"), mkdir("ours"), mkdir("plain"), mkdir("single")
	clients, backups := mkdir("clients"), mkdir("backups")
	for _, dir := range []string{kubelet, ours} {
		if err := kubemount.Write(dir, map[string][]byte{"token": []byte("x")}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		filepath.Join(plain, "token"), filepath.Join(plain, "token-next"), filepath.Join(single, "token"), filepath.Join(single, "other"),
		filepath.Join(clients, "token.ci"), filepath.Join(clients, "token-next.ci"), filepath.Join(backups, "token"), filepath.Join(backups, "token.bak"), filepath.Join(backups, "token.txt"),
	} {
		put(t, path, "x", 0o600)
	}
	link := func(to, name string) string {
		path := filepath.Join(root, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, says := range map[string]string{
		kubelet:                         "rotate the Secret",
		filepath.Join(kubelet, "token"): "rotate the Secret",
		link(kubelet, "to-mount"):       "rotate the Secret",
		link(filepath.Join(kubelet, "token"), "to-key"):  "rotate the Secret",
		filepath.Join(kubelet, "..data"):                 "rotate the Secret",
		ours:                                             "",
		link(ours, "to-ours"):                            "",
		filepath.Join(ours, "token"):                     "give the directory: " + ours,
		filepath.Join(ours, "..data"):                    "give the directory: " + ours,
		link(filepath.Join(ours, "token"), "to-our-key"): "give the directory",
		plain:                                   "",
		filepath.Join(plain, "token"):           "has token-next as well; give the directory",
		filepath.Join(plain, "token-next"):      "has the name of a key",
		filepath.Join(single, "token"):          "",
		filepath.Join(single, "other"):          "",
		filepath.Join(clients, "token.ci"):      "has token-next.ci as well; give the directory",
		filepath.Join(clients, "token-next.ci"): "has the name of a key",
		filepath.Join(backups, "token"):         "",
		filepath.Join(backups, "token.txt"):     "",
		filepath.Join(root, "none"):             "does not exist; make it first",
	} {
		info, err := stat(path)
		if err == nil {
			err = changeable(path, info.IsDir())
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v; want %q", path, err, says)
		}
	}
}
