package place_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A plain directory gets ..data, keeps what is not ours, and the modes of keys.
func TestDirectoryIsReplacedAsTheKubeletDoes(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token"), "one", 0o440)
	put(t, filepath.Join(dir, "token-next"), "two", 0o400)
	put(t, filepath.Join(dir, "foreign"), "mine", 0o604)
	put(t, filepath.Join(dir, "jwks.json"), "{}", 0o444)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	edit := content.KeyEdit{"token": []byte("two"), "token-next": nil, "token-previous": []byte("one")}
	if err := readDir(t, dir).Replace(t.Context(), edit); err != nil {
		t.Fatal(err)
	}
	check := func(keys map[string]string, modes map[string]os.FileMode) {
		t.Helper()
		want := []string{"..data", "foreign", "sub"}
		for key, text := range keys {
			want = append(want, key)
			if to, err := os.Readlink(filepath.Join(dir, key)); err != nil || to != "..data/"+key {
				t.Errorf("%s leads to %q, %v", key, to, err)
			}
			have(t, filepath.Join(dir, "..data", key), text)
			if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode() != modes[key] {
				t.Errorf("%s: %v, %v", key, info.Mode(), err)
			}
		}
		slices.Sort(want)
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("holds %q, want %q", got, want)
		}
		have(t, filepath.Join(dir, "foreign"), "mine")
	}
	modes := map[string]os.FileMode{"token": 0o440, "token-previous": 0o440, "jwks.json": 0o444, "token-revoked": 0o440}
	check(map[string]string{"token": "two", "token-previous": "one", "jwks.json": "{}"}, modes)

	// What stands in ..data and is not ours comes along, and so does a link.
	stamp, _ := filepath.EvalSymlinks(filepath.Join(dir, "..data"))
	put(t, filepath.Join(stamp, "more"), "more", 0o604)
	edit = content.KeyEdit{"token-previous": nil, "token-revoked": []byte("x")}
	if err := readDir(t, dir).Replace(t.Context(), edit); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"token": "two", "token-revoked": "x", "jwks.json": "{}"}, modes)
	have(t, filepath.Join(dir, "..data", "more"), "more")
	if info, err := os.Stat(filepath.Join(dir, "..data")); err != nil || info.Mode().Perm() != statMode(t, dir) {
		t.Errorf("the keys' directory is %v, %v", info.Mode(), err)
	}
}

// A key that changes keeps the mode that it has; only a new one takes that of
// the key token.
func TestKeysKeepTheirModes(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token"), "one", 0o440)
	put(t, filepath.Join(dir, "token-next"), "two", 0o400)
	for _, text := range []string{"three", "four"} { // a plain directory, and one laid out
		if err := readDir(t, dir).Replace(t.Context(), content.KeyEdit{"token-next": []byte(text)}); err != nil {
			t.Fatal(err)
		}
		have(t, filepath.Join(dir, "token-next"), text)
		if got := statMode(t, filepath.Join(dir, "token-next")); got != 0o400 {
			t.Errorf("%s: mode %v", text, got)
		}
	}
}

func statMode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// Whoever reads meanwhile finds the keys of one version, whether he follows
// ..data or opens the key alone.
func TestReadersSeeOneVersion(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token"), "v0", 0o600)
	put(t, filepath.Join(dir, "token-next"), "v0", 0o600)
	src := reload.Dir(dir, "token", "token-next")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			c, err := src.Read(context.Background(), 1<<20)
			if err == nil && !bytes.Equal(c.Keys["token"], c.Keys["token-next"]) {
				t.Errorf("mixed: %q", c.Keys)
				return
			}
			if text, err := os.ReadFile(filepath.Join(dir, "token")); err == nil && len(text) < 2 || errors.Is(err, os.ErrPermission) {
				t.Errorf("%q %v", text, err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range 50 {
		text := []byte("v" + strings.Repeat("x", i+1))
		if err := readDir(t, dir).Replace(t.Context(), content.KeyEdit{"token": text, "token-next": text}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

// A layOut that was cut short is finished by the next one; a file that says
// something else is not thrown away.
func TestDirectoryHeals(t *testing.T) {
	dir := t.TempDir()
	if err := kubemount.Write(dir, map[string][]byte{"token": []byte("one")}, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "token")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	put(t, key, "other", 0o600)
	err := readDir(t, dir).Replace(t.Context(), content.KeyEdit{"token": []byte("two")})
	if err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Fatal(err)
	}
	have(t, key, "other")
	put(t, key, "one", 0o600)
	leftover := filepath.Join(dir, "..2031_01_01_00_00_00.1")
	if err := os.Mkdir(leftover, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := readDir(t, dir).Replace(t.Context(), content.KeyEdit{"token": []byte("two")}); err != nil {
		t.Fatal(err)
	}
	have(t, key, "two")
	if got := names(t, dir); !slices.Equal(got, []string{"..data", "token"}) {
		t.Errorf("left: %q", got)
	}
}
