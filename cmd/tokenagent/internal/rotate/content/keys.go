package content

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// Names returns the keys of both kinds that agents read from a directory or a
// Secret. Where a directory has a ..data, they look for all of them there.
func Names() []string { return append(token.FileNames(), jwks.KeyNames()...) }

// The names of the keys by what stands there.
type names struct{ current, next, previous, until, revoked, retired, unrevoked string }

func (k Kind) names() names {
	if k == Keys {
		return names{jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious, jwks.KeyPreviousUntil, jwks.KeyRevoked, jwks.KeyRetired, jwks.KeyUnrevoked}
	}
	return names{token.FileCurrent, token.FileNext, token.FilePrevious, token.FilePreviousUntil, token.FileRevoked, token.FileRetired, token.FileUnrevoked}
}

// Has reports whether one of keys declares something of the kind.
func (k Kind) Has(keys map[string][]byte) bool {
	n := k.names()
	declare := []string{n.current, n.next, n.previous}
	if k == Keys {
		declare = append(declare, jwks.KeyJWKS)
	}
	for _, key := range declare {
		if _, there := keys[key]; there {
			return true
		}
	}
	return false
}

// HasCurrent reports whether one of keys holds what needs no other key beside it.
func (k Kind) HasCurrent(keys map[string][]byte) bool {
	_, current := keys[k.names().current]
	_, set := keys[jwks.KeyJWKS]
	return current || k == Keys && set
}

// ParseKeys reads the keys of a directory or a Secret; see [token.ParseDir] and
// [jwks.ParseKeys].
func ParseKeys(keys map[string][]byte, o Options) (Content, error) {
	if o.Kind == Keys {
		return parseKeyDir(keys, o)
	}
	t, err := token.ParseDir(keys, o.tokens())
	if err != nil {
		return Content{}, err
	}
	return Of(t), nil
}

// A KeyEdit is what is to change in a set of keys. It holds only keys that do
// change; a nil value means that the key goes.
type KeyEdit map[string][]byte

// EditKeys returns what is to change in keys so that they declare want. Where they
// do not parse, as want says, revocations are added and nothing else is done. A key
// whose token stays keeps its bytes. The result has been parsed and says exactly what
// want does.
func EditKeys(keys map[string][]byte, want Content, o Options) (KeyEdit, error) {
	if want.Fault != nil {
		return revokeKeys(keys, want, o)
	}
	have, err := ParseKeys(keys, o)
	if err != nil {
		return nil, err
	}
	edit := KeyEdit{}
	// put sets a key to text, or takes it away where text is "".
	put := func(key, text string, same bool) {
		if _, there := keys[key]; same || text == "" && !there {
			return
		}
		edit[key] = nil
		if text != "" {
			edit[key] = []byte(text)
		}
	}
	n := o.Kind.names()
	if want.Set {
		text := editSet(keys[jwks.KeyJWKS], have, want, o)
		put(jwks.KeyJWKS, string(text), string(text) == string(keys[jwks.KeyJWKS]))
	} else {
		put(n.current, want.Current.Reveal(), want.Current.ID() == have.Current.ID())
		next := one(want.Next).Reveal()
		put(n.next, next, next != "" && next == one(have.Next).Reveal())

		var previous, until string
		var was, is item
		if len(have.Previous) > 0 {
			was = have.Previous[0].item()
		}
		if len(want.Previous) > 0 {
			p := want.Previous[0]
			is, previous = p.item(), p.Token.Reveal()
			if !p.Until.IsZero() {
				until = Deadline(p.Until)
			}
		}
		put(n.previous, previous, previous != "" && was.id == is.id)
		put(n.until, until, until != "" && was == is)
	}
	for word, key := range map[string]string{wordRevoked: n.revoked, wordRetired: n.retired, wordUnrevoked: n.unrevoked} {
		was, _ := have.digests(word)
		is, _ := want.digests(word)
		text := editDigests(keys[key], word, want, func(id rotation.ID) bool { return !slices.Contains(is, id) }, added(was, is))
		put(key, string(text), bytes.Equal(text, keys[key]))
	}

	got, err := ParseKeys(edit.Apply(keys), o)
	return edit, confirm(want, got, err)
}

func one(tokens []Credential) Credential {
	if len(tokens) == 0 {
		return Credential{}
	}
	return tokens[0]
}

// Ordered returns the keys of the edit in the order in which they are to be written:
// what is refused first, and no less than before; then the old token as the previous
// one, with its deadline; then the new one as current; and at last what the next one
// was. So every reader accepts the old and the new token, wherever the writer is.
func (e KeyEdit) Ordered() (keys []string) {
	for _, k := range []Kind{Tokens, Keys} {
		n := k.names()
		for _, key := range []string{n.unrevoked, n.revoked, n.retired, n.previous, n.until, n.current, n.next} {
			if _, there := e[key]; there {
				keys = append(keys, key)
			}
		}
	}
	if _, there := e[jwks.KeyJWKS]; there {
		keys = append(keys, jwks.KeyJWKS)
	}
	return keys
}

// Apply returns a copy of keys with the edit made.
func (e KeyEdit) Apply(keys map[string][]byte) map[string][]byte {
	out := make(map[string][]byte, len(keys)+len(e))
	maps.Copy(out, keys)
	for key, value := range e {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = value
		}
	}
	return out
}

// editDigests returns the text of a key of digests, such as token-revoked, without
// those that drop names and with those of add. word says which digests. All other
// lines stay.
func editDigests(text []byte, word string, want Content, drop func(rotation.ID) bool, add []rotation.ID) []byte {
	text = withoutLines(text, func(line string) bool {
		id, ok := digestLine(line, word, want.Kind)
		return ok && drop(id)
	})
	for _, id := range add {
		line := want.Wording[id]
		if line == "" {
			line = hex.EncodeToString(id[:])
		}
		text = behind(text, line)
	}
	return text
}

// Revocation returns what a line in a list of revocations revokes, and whether it
// is one.
func Revocation(line string, k Kind) (id rotation.ID, ok bool) {
	ids := Options{Kind: k}.revoked(map[string][]byte{k.names().revoked: []byte(line)})
	if len(ids) != 1 {
		return rotation.ID{}, false
	}
	return ids[0], true
}
