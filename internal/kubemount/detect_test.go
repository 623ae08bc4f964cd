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
		t.Error("volume mistakes a plain file or directory for a volume")
	}
	if err := Write(dir, map[string][]byte{"token": []byte("x")}, 0o400); err != nil {
		t.Fatal(err)
	}
	if volume(dir) == "" || volume(filepath.Join(dir, "token")) == "" {
		t.Error("volume does not recognize a volume or a key in it")
	}
	if Managed(dir) {
		t.Error("Managed mistakes a directory of this package for a kubelet's")
	}
}

func TestManagedByPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kubernetes.io~secret", "app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if Managed(dir) {
		t.Error("Managed mistakes a directory without ..data for a volume")
	}
	if err := Write(dir, map[string][]byte{"token": []byte("x")}, 0o400); err != nil {
		t.Fatal(err)
	}
	if !Managed(dir) || !Managed(filepath.Join(dir, "token")) {
		t.Error("Managed does not recognize a volume in the kubelet's directory")
	}
}

func TestMountPoint(t *testing.T) {
	t.Parallel()
	if mountPoint(t.TempDir()) {
		t.Error("mountPoint mistakes an ordinary directory for a mount point")
	}
	if runtime.GOOS == "linux" && !mountPoint("/proc") {
		t.Error("mountPoint does not recognize /proc")
	}
}
