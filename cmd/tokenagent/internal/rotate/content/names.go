package content

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// names are the keys of one client in a directory, by what they hold. Those of digests are
// the same for all clients.
type names struct{ current, next, previous, until, revoked, retired, unrevoked, set string }

func (k Kind) names(client string) names {
	if k == Keys {
		return names{jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious, jwks.KeyPreviousUntil, jwks.KeyRevoked, jwks.KeyRetired, jwks.KeyUnrevoked, jwks.KeyJWKS}
	}
	of := func(kind string) string { return token.FileName(kind, client) }
	return names{of(token.FileCurrent), of(token.FileNext), of(token.FilePrevious), of(token.FilePreviousUntil), token.FileRevoked, token.FileRetired, token.FileUnrevoked, ""}
}

// Names returns the keys that agents read from a directory or a Secret, for the kind, or
// for both if it is "". A name that ends with * stands for every key that begins with the
// rest.
func Names(k Kind) (all []string) {
	if k != Keys {
		all = token.FileNames()
	}
	if k != Tokens {
		all = append(all, jwks.KeyNames()...)
	}
	return all
}

// IsName reports whether one of names, as [Names] returns them, stands for key.
func IsName(names []string, key string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		prefix, isPattern := strings.CutSuffix(name, "*")
		return name == key || isPattern && strings.HasPrefix(key, prefix)
	})
}

// IsCurrent reports whether key holds a current credential or a key set. Such a key is
// valid without any other key.
func IsCurrent(key string) bool {
	return IsName([]string{token.FileCurrent, token.FileName(token.FileCurrent, "*"), jwks.KeyCurrent, jwks.KeyJWKS}, key)
}

func hasAny(keys map[string][]byte, names ...string) bool {
	for key := range keys {
		if IsName(names, key) {
			return true
		}
	}
	return false
}

// values returns the values of the keys that hold a credential or a deadline, with "" for
// those that do not exist.
func (c Content) values() (v names) {
	v.current = c.Current.Reveal()
	for _, next := range c.Next {
		v.next = next.Reveal()
	}
	for _, p := range c.Previous {
		v.previous = p.Token.Reveal()
		if !p.Until.IsZero() {
			v.until = Deadline(p.Until)
		}
	}
	return v
}

// WhiteSpace returns a warning if there is white space around a current token in keys,
// those of a Secret, and "" if not. Receivers strip it, but daprd takes the bytes into its
// environment unchanged, and a newline breaks all its calls to the app.
func WhiteSpace(keys map[string][]byte) string {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if text := whiteSpace(key, keys[key]); text != "" && IsName([]string{token.FileCurrent, token.FileName(token.FileCurrent, "*")}, key) {
			return text
		}
	}
	return ""
}

func whiteSpace(key string, value []byte) string {
	trimmed := bytes.Trim(bytes.TrimPrefix(value, []byte(bom)), white)
	switch {
	case len(trimmed) == 0 || len(trimmed) == len(value):
		return ""
	case bytes.ContainsAny(value, "\r\n"):
		return "key " + key + " has a newline beside the token; daprd sends it as part of the token, and all its calls to the app fail: write it without (printf %s, or tokenagent generate | tr -d '\\n')"
	default:
		return "key " + key + " has white space beside the token, which daprd sends as part of it; write it without"
	}
}
