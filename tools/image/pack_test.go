package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func tokenagent() spec {
	return spec{name: "registry.example:5000/tokenagent:v1", arch: "arm64", version: "v1", path: "/tokenagent"}
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "program")
	write := func(out string) (string, []byte) {
		t.Helper()
		digest, err := write(tokenagent(), binary, filepath.Join(dir, out))
		if err != nil {
			t.Fatal(err)
		}
		archive, err := os.ReadFile(filepath.Join(dir, out))
		if err != nil {
			t.Fatal(err)
		}
		return digest, archive
	}
	if err := os.WriteFile(binary, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	digest, archive := write("a.tar")
	// The mode and the time of the file on disk must not matter.
	if err := os.Chmod(binary, 0o444); err != nil {
		t.Fatal(err)
	}
	again, archiveAgain := write("b.tar")
	if digest != again || !bytes.Equal(archive, archiveAgain) {
		t.Errorf("%s and %s from one program", digest, again)
	}
	_, other, err := pack(tokenagent(), []byte("another program"))
	if err != nil {
		t.Fatal(err)
	}
	if digest == other {
		t.Error("two programs gave one digest")
	}
}

// TestEveryReferenceHolds walks the archive as both kinds of loader do.
func TestEveryReferenceHolds(t *testing.T) {
	archive, digest, err := pack(tokenagent(), []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, archive)
	blob := func(d descriptor) []byte {
		t.Helper()
		data, ok := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		sum := sha256.Sum256(data)
		if !ok || d.Digest != "sha256:"+hex.EncodeToString(sum[:]) || d.Size != len(data) {
			t.Fatalf("%s of %d bytes: found %t, %d bytes", d.Digest, d.Size, ok, len(data))
		}
		return data
	}
	var index struct{ Manifests []descriptor }
	decode(t, files["index.json"], &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest {
		t.Fatalf("index names %v, not %s", index.Manifests, digest)
	}
	named := index.Manifests[0]
	if named.Annotations["io.containerd.image.name"] != "registry.example:5000/tokenagent:v1" || named.Annotations["org.opencontainers.image.ref.name"] != "v1" {
		t.Errorf("annotations: %v", named.Annotations)
	}
	if !maps.Equal(named.Platform, map[string]string{"architecture": "arm64", "os": "linux"}) {
		t.Errorf("platform: %v", named.Platform)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	decode(t, blob(named), &manifest)
	var config struct {
		Architecture string
		Config       struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, blob(manifest.Config), &config)
	if config.Architecture != "arm64" || config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/tokenagent"}) {
		t.Errorf("config: %+v", config)
	}
	if len(manifest.Layers) != 1 || !slices.Equal(config.RootFS.DiffIDs, []string{manifest.Layers[0].Digest}) {
		t.Errorf("layers %v, but the config says %v", manifest.Layers, config.RootFS.DiffIDs)
	}
	root := untar(t, blob(manifest.Layers[0]))
	if string(root["tokenagent"]) != "program" || !strings.Contains(string(root["etc/passwd"]), ":65532:65532:") {
		t.Errorf("the root holds %v", root)
	}
	var docker []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	decode(t, files["manifest.json"], &docker)
	if !bytes.Equal(files[docker[0].Config], blob(manifest.Config)) || !bytes.Equal(files[docker[0].Layers[0]], blob(manifest.Layers[0])) ||
		docker[0].RepoTags[0] != "registry.example:5000/tokenagent:v1" {
		t.Errorf("docker's manifest: %+v", docker)
	}
}

func TestFoldersOfThePathAreThere(t *testing.T) {
	s := tokenagent()
	s.path = "/usr/local/bin/x"
	layer, err := layerOf(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, layer)
	for _, name := range []string{"usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/x"} {
		if _, ok := files[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	for _, bad := range []string{"", "/", "x", "/a/../b", "/a/"} {
		s.path = bad
		if _, err := layerOf(s, nil); err == nil {
			t.Errorf("path %q was taken", bad)
		}
	}
}

func TestNamesAreWhatAKubeletAsksFor(t *testing.T) {
	for name, want := range map[string]string{
		"busybox:1":                "docker.io/library/busybox:1",
		"tokenagent/tokenagent:1":  "docker.io/tokenagent/tokenagent:1",
		"registry.example/a:1":     "registry.example/a:1",
		"localhost/a/b:1":          "localhost/a/b:1",
		"registry:5000/a:1":        "registry:5000/a:1",
		"docker.io/library/alpine": "docker.io/library/alpine",
	} {
		if got := fullName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d:%d, time %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestLibrariesAndNoEntrypoint(t *testing.T) {
	s := tokenagent()
	s.command = true
	s.libs = []entry{{"/lib/x/libc.so", 0o755, []byte("libc")}, {"/lib/x/libm.so", 0o755, []byte("libm")}}
	layer, err := layerOf(s, []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, layer)
	if string(files["lib/x/libc.so"]) != "libc" || string(files["lib/x/libm.so"]) != "libm" || string(files["tokenagent"]) != "program" {
		t.Errorf("the root holds %v", files)
	}
	if config := configOf(s, ""); bytes.Contains(config, []byte("Entrypoint")) {
		t.Errorf("an image for a command has an entrypoint: %s", config)
	}
	s.libs[0].name = "lib/x/libc.so"
	if _, err := layerOf(s, nil); err == nil {
		t.Error("a relative path was taken")
	}
}
