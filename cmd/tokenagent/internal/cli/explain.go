package cli

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/clients"
	rotated "github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// explainTokens explains a token source. allowed holds the clients of --allow-client.
func (r *report) explainTokens(src *agent.SourceStatus, allowed []string, now time.Time) {
	if src.Kind == "env" {
		r.add("info", "%s is an environment variable", src.Location)
	} else {
		r.describe(src.Location, token.IsFileName, true)
		r.whiteSpace(src.Location)
	}
	r.explainSlots(src, "token", func(client string) string {
		return token.FileName(token.FilePreviousUntil, client) + ", or until= in a file"
	}, now)
	r.explainClients(src.Tokens, allowed, now)
	for _, t := range src.Tokens {
		switch left := t.Expires.Sub(now).Round(time.Second); {
		case t.Expires.IsZero():
		case left <= 0:
			r.add("warning", "the %s token %s%s is a JWT that expired %s ago; receivers that check exp refuse it", t.Slot, t.Fingerprint, ofClient(t.Client), -left)
		case left < 24*time.Hour:
			r.add("warning", "the %s token %s%s is a JWT that expires in %s; rotate it before then", t.Slot, t.Fingerprint, ofClient(t.Client), left)
		}
	}
}

// explainClients lists the named clients with their tokens, by name. It warns of each
// allowed client that has no token.
func (r *report) explainClients(tokens []agent.TokenStatus, allowed []string, now time.Time) {
	all := clients.Group(tokens, now)
	slices.SortFunc(all, func(a, b clients.Client) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range all {
		if c.Name == "" {
			continue
		}
		var has []string
		for _, t := range c.Tokens {
			text := t.Slot + " " + t.Fingerprint
			if t.Slot == "next" {
				text = "staged " + t.Fingerprint
			}
			if !t.Deadline.IsZero() {
				text += " until " + t.Deadline.UTC().Format(time.RFC3339)
			}
			has = append(has, text)
		}
		r.add("info", "client %s: %s", c.Name, strings.Join(has, ", "))
	}
	if len(allowed) > 0 {
		r.add("info", "only these clients are accepted (allow-client): %s", strings.Join(allowed, ", "))
	}
	for _, name := range allowed {
		if !slices.ContainsFunc(all, func(c clients.Client) bool { return c.Name == name }) {
			r.add("warning", "allow-client names %s, but the source has no accepted token of that client", name)
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
	switch {
	case src.Kind == "discovery" && src.Ready:
		r.add("info", "the metadata of the issuer says that its keys are at %s", src.Location)
	case src.Kind == "discovery": // the error names the document
	case src.Kind == "jwks url", src.Kind == "kubernetes":
		r.add("info", "%s is the JWKS of a server", src.Location)
	default:
		isKey := func(name string) bool { return slices.Contains(jwks.KeyNames(), name) }
		r.describe(src.Location, isKey, hmac || len(src.Tokens) == 0) // unknown content may be secret
	}
	r.explainSlots(src, "key", func(string) string { return jwks.KeyPreviousUntil }, now)
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
// slot, except for the tokens of named clients. kind is "token" or "key", and untilName
// returns where a client's deadline is declared.
func (r *report) explainSlots(src *agent.SourceStatus, kind string, untilName func(client string) string, now time.Time) {
	if src.Error != "" {
		r.add("error", "%s", src.Error)
	}
	for _, l := range src.Limits {
		r.add("warning", "%s", l)
	}
	for _, t := range src.Tokens {
		if t.Client == "" {
			r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
		}
		if t.Slot == "previous" && t.Deadline.IsZero() {
			r.add("warning", "the previous %s %s%s has no deadline; give it one (%s)", kind, t.Fingerprint, ofClient(t.Client), untilName(t.Client))
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

// describe says what is at path and who can access it. isKey reports whether an agent reads
// a file of that name in a directory.
func (r *report) describe(path string, isKey func(name string) bool, secret bool) {
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
	entries, err := os.ReadDir(path)
	if err != nil {
		return // the agent reports the error
	}
	var ignored []string
	for _, e := range entries {
		name := e.Name()
		switch info, err := os.Stat(filepath.Join(path, name)); {
		case strings.HasPrefix(name, ".."): // the kubelet's
		case !isKey(name):
			ignored = append(ignored, name)
		case err == nil && !info.IsDir():
			r.add("info", "key %s: %d bytes, mode %s", name, info.Size(), info.Mode().Perm())
			r.access(filepath.Join(path, name), info, secret)
		}
	}
	if len(ignored) > 0 {
		r.add("info", "ignored, because no key has such a name: %s", rotated.ShortList(ignored))
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
