package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
)

// isKeys reports whether a source is one of keys.
func isKeys(src *agent.SourceStatus) bool { return src.Kind == "key file" || src.Kind == "jwks url" }

// keys explains a source of verification keys.
func (r *report) keys(src *agent.SourceStatus, now time.Time) {
	secret := slices.ContainsFunc(src.Tokens, func(t agent.TokenStatus) bool { return strings.HasPrefix(t.Algorithm, "HS") })
	c := publicContent
	if secret || len(src.Tokens) == 0 { // what is not known may be secret
		c = secretContent
	}
	if src.Kind == "jwks url" {
		r.add("info", "%s is the JWKS of a server", src.Location)
	} else {
		r.describe(src.Location, jwks.KeyNames(), c)
		if src.Ready { // else it has none that is known
			r.forms(src.Location)
		}
	}
	r.state(src)
	for _, t := range src.Tokens {
		r.key(t, now)
	}
	if secret {
		r.add("info", "whoever has an HMAC secret can sign with it: each verifier could forge tokens for the others")
	}
	if src.Revoked > 0 {
		r.add("info", "%d revoked", src.Revoked)
	}
	in := func(slot string) bool {
		return slices.ContainsFunc(src.Tokens, func(t agent.TokenStatus) bool { return t.Slot == slot })
	}
	switch {
	case src.Ready && len(src.Tokens) == 0:
		r.add("error", "nothing would be accepted; put a key in that is not revoked")
	case in("current"):
		r.add("info", "when the current key is replaced it stays accepted for --overlap, %s by default: a shorter one than the tokens live refuses some that are good", agent.DefaultOverlap)
	case in("listed"):
		r.add("info", "a key that leaves the set is refused at once: leave it in until the last token that it signed has expired")
	}
}

func (r *report) key(t agent.TokenStatus, now time.Time) {
	r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
	if t.Slot == "previous" && t.Deadline.IsZero() {
		r.add("warning", "the previous key %s has no deadline; give it one (%s)", t.Fingerprint, jwks.KeyPreviousUntil)
	}
}

// forms says what form the keys have, of a file or of each key of a directory.
func (r *report) forms(path string) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		r.form(path)
		return
	}
	for _, key := range []string{jwks.KeyJWKS, jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious} {
		r.form(filepath.Join(path, key))
	}
}

// form looks at how a file begins; the agent has read the rest.
func (r *report) form(path string) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return // opening a named pipe would wait
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return
	}
	head = bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	what := "an HMAC secret"
	switch {
	case len(head) == 0:
		return
	case head[0] == '{' && bytes.Contains(head, []byte(`"keys"`)):
		what = "a JSON Web Key Set"
	case head[0] == '{':
		what = "JSON, such as a JSON Web Key"
	case bytes.HasPrefix(head, []byte("-----BEGIN ")):
		what = "PEM"
	}
	r.add("info", "%s holds %s", path, what)
}
