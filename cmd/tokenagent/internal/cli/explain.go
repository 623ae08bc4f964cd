package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	rotated "github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// explainTokens explains a token source.
func (r *report) explainTokens(src *agent.SourceStatus, now time.Time) {
	if src.Kind == "env" {
		r.add("info", "%s is an environment variable", src.Location)
	} else {
		r.describe(src.Location, token.FileNames(), true)
		r.whiteSpace(src.Location)
	}
	r.explainSlots(src, "token", token.FilePreviousUntil+", or until= in a file", now)
	for _, t := range src.Tokens {
		switch left := t.Expires.Sub(now).Round(time.Second); {
		case t.Expires.IsZero():
		case left <= 0:
			r.add("warning", "the %s token %s is a JWT that expired %s ago; receivers that check exp refuse it", t.Slot, t.Fingerprint, -left)
		case left < 24*time.Hour:
			r.add("warning", "the %s token %s is a JWT that expires in %s; rotate it before then", t.Slot, t.Fingerprint, left)
		}
	}
}

// explainKeys explains a source of verification keys.
func (r *report) explainKeys(src *agent.SourceStatus, now time.Time) {
	hmac, slots := false, make(map[string]bool)
	for _, t := range src.Tokens {
		hmac = hmac || strings.HasPrefix(t.Algorithm, "HS")
		slots[t.Slot] = true
	}
	if src.Kind == "jwks url" {
		r.add("info", "%s is the JWKS of a server", src.Location)
	} else {
		r.describe(src.Location, jwks.KeyNames(), hmac || len(src.Tokens) == 0) // unknown content may be secret
	}
	r.explainSlots(src, "key", jwks.KeyPreviousUntil, now)
	if hmac {
		r.add("info", "anybody who has an HMAC secret can sign with it, so each verifier could forge tokens for the others")
	}
	switch {
	case slots["current"]:
		r.add("info", "a replaced current key stays accepted for --overlap, %s by default: if tokens live longer than that, some valid tokens are refused", agent.DefaultOverlap)
	case slots["listed"]:
		r.add("info", "a key that leaves the set is refused at once: leave it in until the last token that it signed has expired")
	}
}

// explainSlots reports the errors that the agent found in a source, and what is in each
// slot. kind is "token" or "key", and untilName says where a deadline is declared.
func (r *report) explainSlots(src *agent.SourceStatus, kind, untilName string, now time.Time) {
	if src.Error != "" {
		r.add("error", "%s", src.Error)
	}
	for _, l := range src.Limits {
		r.add("warning", "%s", l)
	}
	for _, t := range src.Tokens {
		r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
		if t.Slot == "previous" && t.Deadline.IsZero() {
			r.add("warning", "the previous %s %s has no deadline; give it one (%s)", kind, t.Fingerprint, untilName)
		}
	}
	if src.Revoked > 0 {
		r.add("info", "%d revoked", src.Revoked)
	}
	if src.Ready && len(src.Tokens) == 0 {
		r.add("error", "nothing would be accepted; add a %s that is not revoked", kind)
	}
}

// whiteSpace warns of a newline after the token in a mounted Secret: daprd would send it.
// path is the mount, or the key token in it.
func (r *report) whiteSpace(path string) {
	if filepath.Base(path) == token.FileCurrent {
		path = filepath.Dir(path)
	}
	text, err := os.ReadFile(filepath.Join(path, "..data", token.FileCurrent))
	if err != nil {
		return // it is not a mounted Secret, or the agent reports the error
	}
	if warning := rotated.WhiteSpace(map[string][]byte{token.FileCurrent: text}); warning != "" {
		r.add("warning", "%s", warning)
	}
}

// describe says what is at path and who can access it. keys are the names of the files
// that an agent reads in a directory.
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
		r.add("warning", "%s can be written by everyone, so anybody could replace what is in it; chmod o-w", path)
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
