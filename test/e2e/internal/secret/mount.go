package secret

import (
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// A Mount is a directory that changes as a Secret volume does.
type Mount struct {
	t   testing.TB
	Dir string
}

// NewMount makes a mount with no keys, as an optional Secret that does not
// exist has it.
func NewMount(tb testing.TB) *Mount {
	tb.Helper()
	m := &Mount{t: tb, Dir: tb.TempDir()}
	m.Publish(nil)
	return m
}

// Publish makes keys the Secret's content, as the kubelet does.
func (m *Mount) Publish(keys map[string]string) {
	m.t.Helper()
	payload := make(map[string][]byte, len(keys))
	for key, value := range keys {
		payload[key] = []byte(value)
	}
	if err := kubemount.Write(m.Dir, payload, 0o600); err != nil {
		m.t.Fatal(err)
	}
}
