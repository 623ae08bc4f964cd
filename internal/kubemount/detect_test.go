package kubemount

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if volume(plain) != "" || volume(dir) != "" || volume(filepath.Join(dir, "none")) != "" {
		t.Error("a plain file or directory is taken for a volume")
	}
	if err := Write(dir, map[string][]byte{"token": []byte("x")}, 0o400); err != nil {
		t.Fatal(err)
	}
	if volume(dir) == "" || volume(filepath.Join(dir, "token")) == "" {
		t.Error("a volume, or a key in it, is not seen as one")
	}
	if Managed(dir) {
		t.Error("a directory of our own is taken for a kubelet's")
	}
}

func TestManagedByPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kubernetes.io~secret", "app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if Managed(dir) {
		t.Error("managed without the form of a volume")
	}
	if err := Write(dir, map[string][]byte{"token": []byte("x")}, 0o400); err != nil {
		t.Fatal(err)
	}
	if !Managed(dir) || !Managed(filepath.Join(dir, "token")) {
		t.Error("a volume in the kubelet's own place is not seen as managed")
	}
}

func TestMountPoint(t *testing.T) {
	t.Parallel()
	if mountPoint(t.TempDir()) {
		t.Error("an ordinary directory is taken for a mount")
	}
	if runtime.GOOS == "linux" && !mountPoint("/proc") {
		t.Error("/proc is not seen as a mount")
	}
}
