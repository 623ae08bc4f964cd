package kubemount_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

func names(t *testing.T, dir string) (keys, stamps []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "..data":
		case strings.HasPrefix(name, ".."):
			stamps = append(stamps, name)
		default:
			keys = append(keys, name)
		}
	}
	return keys, stamps
}

func write(t *testing.T, dir string, payload map[string][]byte, mode os.FileMode) {
	t.Helper()
	if err := kubemount.Write(dir, payload, mode); err != nil {
		t.Fatal(err)
	}
}

func TestWriteRotates(t *testing.T) {
	dir := t.TempDir()
	steps := []map[string][]byte{
		{"token": []byte("one")},
		{"token": []byte("two"), "token-previous": []byte("one")},
		{"token": []byte("two")},
		{},
		{"token": []byte("three")},
	}
	for i, payload := range steps {
		write(t, dir, payload, 0o440)
		keys, stamps := names(t, dir)
		if len(stamps) != 1 {
			t.Fatalf("step %d: directories left: %q", i, stamps)
		}
		if len(keys) != len(payload) {
			t.Fatalf("step %d: keys are %q", i, keys)
		}
		for key, want := range payload {
			got, err := os.ReadFile(filepath.Join(dir, key))
			if err != nil || string(got) != string(want) {
				t.Fatalf("step %d: %s: %q, %v", i, key, got, err)
			}
			info, err := os.Stat(filepath.Join(dir, key))
			if err != nil || info.Mode().Perm() != 0o440 {
				t.Fatalf("step %d: %s: mode %v, %v", i, key, info.Mode(), err)
			}
		}
	}
}

func TestWriteOfTheSameChangesNothing(t *testing.T) {
	dir := t.TempDir()
	payload := map[string][]byte{"token": []byte("one")}
	write(t, dir, payload, 0o400)
	_, before := names(t, dir)
	write(t, dir, payload, 0o440)
	if _, after := names(t, dir); !slices.Equal(before, after) {
		t.Fatalf("was %q, is %q", before, after)
	}
}

// A Write that was interrupted between its steps does not prevent the next one.
func TestWriteAfterACrash(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string][]byte{"token": []byte("one")}, 0o400)
	if err := os.Symlink("nowhere", filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string][]byte{"token": []byte("two")}, 0o400)
	got, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil || string(got) != "two" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestWriteLeavesForeignEntriesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("plain", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string][]byte{"token": []byte("one")}, 0o400)
	write(t, dir, map[string][]byte{}, 0o400)
	if keys, _ := names(t, dir); !slices.Equal(keys, []string{"link", "plain"}) {
		t.Fatalf("left: %q", keys)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, key := range []string{"", ".", "..", "..data", "a/b", `a\b`} {
		if err := kubemount.Write(t.TempDir(), map[string][]byte{key: nil}, 0o400); err == nil {
			t.Errorf("key %q was accepted", key)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := kubemount.Write(dir, map[string][]byte{"token": nil}, 0o400); err == nil {
		t.Error("a foreign ..data was accepted")
	}
	if err := kubemount.Write(filepath.Join(dir, "absent"), nil, 0o400); err == nil {
		t.Error("an absent directory was accepted")
	}
}
