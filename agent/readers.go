package agent

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// warnAboutReaders logs a warning, once for each file, if every user of the machine may
// read a secret of the source: a token or an HMAC key. Volumes that the kubelet mounts
// are exempt: their files have mode 0644 by default, and other users cannot reach the
// file system of the pod
// (https://kubernetes.io/docs/concepts/storage/volumes/#secret).
func (m *typedSource[V, S]) warnAboutReaders(live []*rotation.Entry[V]) {
	if runtime.GOOS == "windows" || !m.src.watched || kubemount.Managed(m.src.location) {
		return
	}
	keys := []string{token.FileCurrent, token.FileNext, token.FilePrevious}
	if m.src.kind == "key file" {
		if !slices.ContainsFunc(live, isShared[V]) {
			return // public keys are no secret
		}
		keys = []string{jwks.KeyJWKS, jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious}
	}
	for _, path := range secretFiles(m.src.location, keys) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o004 == 0 {
			delete(m.warned, path)
			continue
		}
		if _, warned := m.warned[path]; warned {
			continue
		}
		if m.warned == nil {
			m.warned = make(map[string]struct{})
		}
		m.warned[path] = struct{}{}
		m.log.Warn("every user of this machine can read the secret in this file; take the right away (chmod o-r), and rotate what it holds if others have accounts here",
			"source", m.src.name, "file", path, "mode", info.Mode().Perm().String())
	}
}

// secretFiles returns the files that may hold the secrets of the source at path: the
// given keys if path is a directory, and else path.
func secretFiles(path string, keys []string) []string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}
	}
	var files []string
	for _, key := range keys {
		files = append(files, filepath.Join(path, key))
	}
	return files
}

// isShared reports whether e is an HMAC key, a secret that issuer and verifier share.
func isShared[V credential](e *rotation.Entry[V]) bool {
	key, ok := any(e.Value).(interface{ Algorithm() string })
	return ok && strings.HasPrefix(key.Algorithm(), "HS")
}
