package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// canaryLength is how much of a token's beginning counts as a leak. Tokens are
// random, so 10 characters of one do not turn up by chance.
const canaryLength = 10

// A sharedToken is a random shared token.
type sharedToken string

// newToken makes a token of more than 128 bits, with every byte in the range
// that both HTTP headers and gRPC metadata carry.
func newToken() sharedToken { return sharedToken(rand.Text()) }

// Digest is the token's SHA-256 in hexadecimal, as `token-revoked` wants it.
func (t sharedToken) Digest() string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// Fingerprint is what metrics and status call the token.
func (t sharedToken) Fingerprint() string { return t.Digest()[:8] }

// Leaked reports whether text holds the token or the beginning of it.
func (t sharedToken) Leaked(text string) bool {
	return strings.Contains(text, string(t[:canaryLength]))
}

// A secretMount is a directory that changes as a Secret volume does.
type secretMount struct {
	t   testing.TB
	Dir string
}

// newSecretMount makes a mount without keys, like the mount of an optional Secret that
// does not exist.
func newSecretMount(tb testing.TB) *secretMount {
	tb.Helper()
	m := &secretMount{t: tb, Dir: tb.TempDir()}
	m.Publish(nil)
	return m
}

// Publish makes keys the Secret's content, as the kubelet does.
func (m *secretMount) Publish(keys map[string]string) {
	m.t.Helper()
	payload := make(map[string][]byte, len(keys))
	for key, value := range keys {
		payload[key] = []byte(value)
	}
	if err := kubemount.Write(m.Dir, payload, 0o600); err != nil {
		m.t.Fatal(err)
	}
}
