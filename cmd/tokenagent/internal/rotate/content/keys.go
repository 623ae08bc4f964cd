package content

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// Names returns the keys of both kinds that agents read from a directory or a Secret.
func Names() []string { return append(token.FileNames(), jwks.KeyNames()...) }

// names are the keys of one kind in a directory, by what they hold.
type names struct{ current, next, previous, until, revoked, retired, unrevoked string }

func (k Kind) names() names {
	if k == Keys {
		return names{jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious, jwks.KeyPreviousUntil, jwks.KeyRevoked, jwks.KeyRetired, jwks.KeyUnrevoked}
	}
	return names{token.FileCurrent, token.FileNext, token.FilePrevious, token.FilePreviousUntil, token.FileRevoked, token.FileRetired, token.FileUnrevoked}
}

// Has reports whether one of keys declares a credential of the kind.
func (k Kind) Has(keys map[string][]byte) bool {
	return k.HasCurrent(keys) || hasAny(keys, k.names().next, k.names().previous)
}

// HasCurrent reports whether one of keys holds what is valid without any other key.
func (k Kind) HasCurrent(keys map[string][]byte) bool {
	return hasAny(keys, k.names().current) || k == Keys && hasAny(keys, jwks.KeyJWKS)
}

func hasAny(keys map[string][]byte, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, there := keys[name]
		return there
	})
}

// ParseKeys parses the keys of a directory or of a Secret; see [token.ParseDir] and
// [jwks.ParseKeys]. With an error it returns the revocations.
func ParseKeys(keys map[string][]byte, o Options) (Content, error) {
	if o.Kind == Keys {
		return parseKeyDir(keys, o)
	}
	t, err := token.ParseDir(keys, o.tokens())
	return ofTokens(t), err
}

// A KeyEdit holds the keys of a directory or of a Secret that change. A nil value means
// that the key is removed.
type KeyEdit map[string][]byte

// EditKeys returns how keys, which declare have, must change to declare want. The result
// has been parsed again.
func EditKeys(keys map[string][]byte, have, want Content, o Options) (KeyEdit, error) {
	edit := KeyEdit{}
	set := func(key, was, is string) {
		switch {
		case was == is:
		case is != "":
			edit[key] = []byte(is)
		case hasAny(keys, key):
			edit[key] = nil
		}
	}
	was := have.values()
	for key, is := range want.values() {
		set(key, was[key], is)
	}
	n := o.Kind.names()
	for word, key := range map[string]string{wordRevoked: n.revoked, wordRetired: n.retired, wordUnrevoked: n.unrevoked} {
		text := editDigests(keys[key], word, have, want)
		set(key, string(keys[key]), string(text))
	}
	if want.IsKeySet {
		text, err := editSet(keys[jwks.KeyJWKS], have, want, o)
		if err != nil {
			return nil, err
		}
		set(jwks.KeyJWKS, string(keys[jwks.KeyJWKS]), string(text))
	}
	got, err := ParseKeys(edit.Apply(keys), o)
	return edit, confirm(want, got, err)
}

// values returns the keys that declare the credentials of c, with "" for those that do
// not exist.
func (c Content) values() map[string]string {
	n := c.Kind.names()
	values := map[string]string{n.current: c.Current.Reveal(), n.next: "", n.previous: "", n.until: ""}
	for _, v := range c.Next {
		values[n.next] = v.Reveal()
	}
	for _, s := range c.Previous {
		values[n.previous] = s.Token.Reveal()
		if !s.Until.IsZero() {
			values[n.until] = Deadline(s.Until)
		}
	}
	return values
}

// editDigests returns text, the value of a key of digests such as token-revoked, changed
// from have to want. All other lines keep their bytes.
func editDigests(text []byte, word string, have, want Content) []byte {
	var fresh []string
	for _, id := range without(want.digests(word), have.digests(word)) {
		said := want.Wording[id]
		if said == "" {
			said = hex.EncodeToString(id[:])
		}
		fresh = append(fresh, said)
	}
	gone := without(have.digests(word), want.digests(word))
	return editText(text, fresh, func(raw string) string {
		said := strings.Trim(strings.TrimPrefix(raw, bom), white)
		if rest, ok := strings.CutPrefix(said, word); ok { // agents take the form of a file, too
			said = strings.TrimLeft(rest, white)
		}
		if id, ok := Revocation(said, want.Kind); ok && slices.Contains(gone, id) {
			return ""
		}
		return raw
	})
}

// Ordered returns the keys of the edit in the order in which they must be written: first
// the digests, then the old token as previous, with its deadline, then the new one as
// current, and last token-next. So a reader accepts the old and the new token at every
// moment.
func (e KeyEdit) Ordered() []string {
	var order []string
	for _, k := range []Kind{Tokens, Keys} {
		n := k.names()
		order = append(order, n.unrevoked, n.revoked, n.retired, n.previous, n.until, n.current, n.next)
	}
	order = append(order, jwks.KeyJWKS)
	return slices.DeleteFunc(order, func(key string) bool {
		_, changes := e[key]
		return !changes
	})
}

// Apply returns a copy of keys with the edit made.
func (e KeyEdit) Apply(keys map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	maps.Copy(out, keys)
	for key, value := range e {
		out[key] = value
		if value == nil {
			delete(out, key)
		}
	}
	return out
}

// WhiteSpace returns a warning if there is white space around the token in keys, those of
// a Secret, and "" if not. Receivers strip it, but daprd takes the bytes into its
// environment unchanged, and a newline breaks all its calls to the app.
func WhiteSpace(keys map[string][]byte) string {
	value := keys[token.FileCurrent]
	trimmed := bytes.Trim(bytes.TrimPrefix(value, []byte(bom)), white)
	switch {
	case len(trimmed) == 0 || len(trimmed) == len(value):
		return ""
	case bytes.ContainsAny(value, "\r\n"):
		return "key " + token.FileCurrent + " has a newline beside the token; daprd sends it as part of the token, and all its calls to the app fail: write it without (printf %s, or tokenagent generate | tr -d '\\n')"
	default:
		return "key " + token.FileCurrent + " has white space beside the token, which daprd sends as part of it; write it without"
	}
}
