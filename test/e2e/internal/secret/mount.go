package secret

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A Mount is a directory that changes as a Secret volume does: the keys are
// symlinks through ..data, which points to a directory named for its time and
// is replaced by a rename.
type Mount struct {
	t       testing.TB
	Dir     string
	version int
	keys    map[string]bool
}

// NewMount makes a mount with no keys, as an optional Secret that does not
// exist has it.
func NewMount(t testing.TB) *Mount {
	m := &Mount{t: t, Dir: t.TempDir(), keys: map[string]bool{}}
	m.Publish(nil)
	return m
}

// Publish replaces the whole content in the kubelet's order: the new version
// beside the old one, the ..data symlink, the links of new keys, then the
// links of keys that are gone, and the old version last.
func (m *Mount) Publish(payload map[string]string) {
	m.t.Helper()
	m.version++
	version := fmt.Sprintf("..2026_01_01_00_00_00.%09d", m.version)
	old, _ := os.Readlink(filepath.Join(m.Dir, "..data"))

	m.must(os.Mkdir(filepath.Join(m.Dir, version), 0o755))
	for key, value := range payload {
		m.must(os.WriteFile(filepath.Join(m.Dir, version, key), []byte(value), 0o644))
	}
	m.must(os.Symlink(version, filepath.Join(m.Dir, "..data_tmp")))
	m.must(os.Rename(filepath.Join(m.Dir, "..data_tmp"), filepath.Join(m.Dir, "..data")))
	for key := range payload {
		if !m.keys[key] {
			m.must(os.Symlink(filepath.Join("..data", key), filepath.Join(m.Dir, key)))
			m.keys[key] = true
		}
	}
	for key := range m.keys {
		if _, ok := payload[key]; !ok {
			m.must(os.Remove(filepath.Join(m.Dir, key)))
			delete(m.keys, key)
		}
	}
	if old != "" {
		m.must(os.RemoveAll(filepath.Join(m.Dir, old)))
	}
}

func (m *Mount) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}
