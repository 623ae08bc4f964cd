package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	rotated "github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// tokens explains a source of tokens.
func (r *report) tokens(src *agent.SourceStatus, now time.Time) {
	if src.Kind == "env" {
		r.add("info", "%s is an environment variable", src.Location)
	} else {
		r.describe(src.Location, token.FileNames(), true)
		r.whiteSpace(src.Location)
	}
	r.state(src)
	for _, t := range src.Tokens {
		r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
		if t.Slot == "previous" && t.Deadline.IsZero() {
			r.add("warning", "the previous token %s has no deadline; give it one (%s, or until= in a file)", t.Fingerprint, token.FilePreviousUntil)
		}
		if t.Expires.IsZero() {
			continue
		}
		if left := t.Expires.Sub(now).Round(time.Second); left <= 0 {
			r.add("warning", "the %s token %s is a JWT that expired %s ago; receivers that check exp refuse it", t.Slot, t.Fingerprint, -left)
		} else if left < 24*time.Hour {
			r.add("warning", "the %s token %s is a JWT that expires in %s; rotate before", t.Slot, t.Fingerprint, left)
		}
	}
	r.end(src, "token")
}

// keys explains a source of verification keys.
func (r *report) keys(src *agent.SourceStatus, now time.Time) {
	hmac := slices.ContainsFunc(src.Tokens, func(t agent.TokenStatus) bool { return strings.HasPrefix(t.Algorithm, "HS") })
	if src.Kind == "jwks url" {
		r.add("info", "%s is the JWKS of a server", src.Location)
	} else {
		r.describe(src.Location, jwks.KeyNames(), hmac || len(src.Tokens) == 0) // unknown content may be secret
	}
	r.state(src)
	for _, t := range src.Tokens {
		r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
		if t.Slot == "previous" && t.Deadline.IsZero() {
			r.add("warning", "the previous key %s has no deadline; give it one (%s)", t.Fingerprint, jwks.KeyPreviousUntil)
		}
	}
	if hmac {
		r.add("info", "whoever has an HMAC secret can sign with it: each verifier could forge tokens for the others")
	}
	r.end(src, "key")
	in := func(slot string) bool {
		return slices.ContainsFunc(src.Tokens, func(t agent.TokenStatus) bool { return t.Slot == slot })
	}
	switch {
	case in("current"):
		r.add("info", "when the current key is replaced it stays accepted for --overlap, %s by default: a shorter one than the tokens live refuses some that are good", agent.DefaultOverlap)
	case in("listed"):
		r.add("info", "a key that leaves the set is refused at once: leave it in until the last token that it signed has expired")
	}
}

// state reports what the agent found wrong with a source.
func (r *report) state(src *agent.SourceStatus) {
	if src.Fault != "" {
		r.add("error", "%s", src.Fault)
	}
	for _, l := range src.Limits {
		r.add("warning", "%s", l)
	}
}

// end reports the revocations in a source, and whether it holds anything else.
func (r *report) end(src *agent.SourceStatus, kind string) {
	if src.Revoked > 0 {
		r.add("info", "%d revoked", src.Revoked)
	}
	if src.Ready && len(src.Tokens) == 0 {
		r.add("error", "nothing would be accepted; put a %s in that is not revoked", kind)
	}
}

// whiteSpace warns of a newline in a mounted Secret that daprd reads, too. path is
// the mount, or its key token.
func (r *report) whiteSpace(path string) {
	if filepath.Base(path) == token.FileCurrent {
		path = filepath.Dir(path)
	}
	text, err := os.ReadFile(filepath.Join(path, "..data", token.FileCurrent))
	if err != nil {
		return // no mounted Secret, or the agent reports the error
	}
	if warning := rotated.WhiteSpace(map[string][]byte{token.FileCurrent: text}); warning != "" {
		r.add("warning", "%s", warning)
	}
}

// describe says what is at path and who may access it. keys are the names of the files
// that are read in a directory.
func (r *report) describe(path string, keys []string, secret bool) {
	info, err := os.Stat(path)
	if err != nil {
		return // the agent reports the error
	}
	if !info.IsDir() {
		r.add("info", "%s is a file of %d bytes, mode %s", path, info.Size(), info.Mode().Perm())
		if target, err := filepath.EvalSymlinks(path); err == nil && strings.Contains(target, string(filepath.Separator)+"..") {
			r.add("info", "it is a key of a mounted Secret, which the kubelet updates")
		}
		r.access(path, info, secret)
		return
	}
	if _, err := os.Lstat(filepath.Join(path, "..data")); err == nil {
		r.add("info", "%s is a mounted Secret (it has ..data): its keys are read together, and the kubelet updates it", path)
	} else {
		r.add("info", "%s is a plain directory: its keys are read until two passes agree", path)
	}
	for _, key := range keys {
		if info, err := os.Stat(filepath.Join(path, key)); err == nil {
			r.add("info", "key %s: %d bytes, mode %s", key, info.Size(), info.Mode().Perm())
			r.access(filepath.Join(path, key), info, secret)
		}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		r.add("warning", "%s can be written by everyone, who could put something of their own there; chmod o-w", path)
	}
}

// access warns if others can write the file at path or, if it is secret, read it.
func (r *report) access(path string, info fs.FileInfo, secret bool) {
	if runtime.GOOS == "windows" { // access control lists decide there
		return
	}
	perm := info.Mode().Perm()
	if perm&0o022 != 0 {
		r.add("warning", "%s can be written by others than its owner (mode %s); chmod go-w", path, perm)
	}
	if perm&0o004 != 0 && secret {
		r.add("warning", "%s can be read by everyone (mode %s); chmod o-r, or defaultMode 0440 with fsGroup in Kubernetes", path, perm)
	}
}
