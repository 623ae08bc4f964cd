package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A spec says what the image is, apart from its program.
type spec struct {
	name    string // with its tag
	arch    string // GOARCH
	version string // for the labels; "" for none
	path    string // of the program in the image, absolute
	command bool   // the image has no entrypoint
	libs    []entry
}

// user is the user of the program, unless a pod says otherwise. It is a number, since a
// kubelet cannot tell whether a name is root (runAsNonRoot).
const user = "65532:65532"

// Media types of the OCI image specification, version 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// An entry is a file of a tar, or a folder if its name ends in a slash.
type entry struct {
	name string
	mode int64
	data []byte
}

// pack returns the archive of an image that holds program, and the image's
// digest. It reads no clock, and no environment: equal input gives equal bytes.
func pack(s spec, program []byte) (archive []byte, digest string, err error) {
	layer, err := layerOf(s, program)
	if err != nil {
		return nil, "", err
	}
	// The layer is not compressed: the output of a compressor differs from version to
	// version, and a registry's client compresses it anyway.
	layerDescriptor := describe(typeLayer, layer)
	config := configOf(s, layerDescriptor.Digest)
	configDescriptor := describe(typeConfig, config)
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": configDescriptor, "layers": []descriptor{layerDescriptor},
	})
	manifestDescriptor := describe(typeManifest, manifest)
	named := manifestDescriptor
	named.Platform = map[string]string{"architecture": s.arch, "os": "linux"}
	named.Annotations = map[string]string{
		"io.containerd.image.name":          fullName(s.name),
		"org.opencontainers.image.ref.name": s.name[strings.LastIndex(s.name, ":")+1:],
	}
	index := encode(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{named}})
	// `docker load` before version 25 reads this.
	docker := encode([]map[string]any{{"Config": blob(configDescriptor), "RepoTags": []string{s.name}, "Layers": []string{blob(layerDescriptor)}}})
	archive, err = tarOf([]entry{
		{"blobs/", 0o755, nil},
		{"blobs/sha256/", 0o755, nil},
		{blob(configDescriptor), 0o644, config},
		{blob(layerDescriptor), 0o644, layer},
		{blob(manifestDescriptor), 0o644, manifest},
		{"index.json", 0o644, index},
		{"manifest.json", 0o644, docker},
		{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
	})
	return archive, manifestDescriptor.Digest, err
}

// fullName returns name with its registry, as a kubelet asks for it.
func fullName(name string) string {
	host, _, more := strings.Cut(name, "/")
	switch {
	case !more:
		return "docker.io/library/" + name
	case host != "localhost" && !strings.ContainsAny(host, ".:"):
		return "docker.io/" + name
	default:
		return name
	}
}

func layerOf(s spec, program []byte) ([]byte, error) {
	entries := []entry{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
	}
	folders := map[string]bool{"etc/": true}
	for _, file := range append(slices.Clone(s.libs), entry{s.path, 0o755, program}) {
		if !path.IsAbs(file.name) || path.Clean(file.name) != file.name || file.name == "/" {
			return nil, fmt.Errorf("%s: not a clean absolute path", file.name)
		}
		file.name = strings.TrimPrefix(file.name, "/")
		for i := range file.name {
			if folder := file.name[:i+1]; file.name[i] == '/' && !folders[folder] {
				folders[folder] = true
				entries = append(entries, entry{folder, 0o755, nil})
			}
		}
		entries = append(entries, file)
	}
	return tarOf(entries)
}

func configOf(s spec, layer string) []byte {
	labels := map[string]string{
		"org.opencontainers.image.title":    path.Base(s.path),
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.source":   "https://github.com/tokenagent/tokenagent",
	}
	if s.version != "" {
		labels["org.opencontainers.image.version"] = s.version
	}
	config := map[string]any{"Entrypoint": []string{s.path}, "User": user, "WorkingDir": "/", "Labels": labels}
	if s.command {
		delete(config, "Entrypoint")
	}
	epoch := time.Unix(0, 0).UTC().Format(time.RFC3339)
	return encode(map[string]any{
		"architecture": s.arch,
		"os":           "linux",
		"created":      epoch,
		"config":       config,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layer}},
		"history":      []map[string]string{{"created": epoch, "created_by": "tools/image"}},
	})
}

// tarOf returns a tar of entries in their order, all of root and of 1970.
func tarOf(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.name, Mode: e.mode, Size: int64(len(e.data)),
			Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// encode returns v as JSON. v has only types that can be encoded.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func describe(mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: len(data)}
}

func blob(d descriptor) string { return strings.Replace("blobs/"+d.Digest, ":", "/", 1) }
