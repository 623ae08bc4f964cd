package content

import (
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// ParseKeys reads the keys of a directory or a Secret; see [verify.ParseKeys].
func ParseKeys(keys map[string][]byte, o verify.ParseOptions) (Content, error) {
	t, err := verify.ParseKeys(keys, o)
	if err != nil {
		return Content{}, err
	}
	return Of(t), nil
}

// A KeyEdit is what is to change in a set of keys. It holds only keys that do
// change; a nil value means that the key goes.
type KeyEdit map[string][]byte

// errOne is for a want that keys cannot hold; the steps see to it before.
var errOne = errors.New("keys hold one next and one previous token, and none that is listed")

// EditKeys returns what is to change in keys, which parse, so that they
// declare want. A key whose token stays keeps its bytes. The result has been
// parsed and says exactly what want does.
func EditKeys(keys map[string][]byte, want Content, o verify.ParseOptions) (KeyEdit, error) {
	if len(want.Next) > 1 || len(want.Previous) > 1 || len(want.Listed) > 0 {
		return nil, errOne
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
	put(verify.KeyCurrent, want.Current.Reveal(), want.Current.ID() == have.Current.ID())
	next := one(want.Next).Reveal()
	put(verify.KeyNext, next, next != "" && next == one(have.Next).Reveal())

	var previous, until string
	var was, is superseded
	if len(have.Previous) > 0 {
		was = have.Previous[0].key()
	}
	if len(want.Previous) > 0 {
		p := want.Previous[0]
		is, previous = p.key(), p.Token.Reveal()
		if !p.Until.IsZero() {
			until = Deadline(p.Until)
		}
	}
	put(verify.KeyPrevious, previous, previous != "" && was.id == is.id)
	put(verify.KeyPreviousUntil, until, until != "" && was == is)
	if text, changed := revocations(keys[verify.KeyRevoked], have.Revoked, want.Revoked); changed {
		put(verify.KeyRevoked, text, false)
	}

	t, err := verify.ParseKeys(edit.Apply(keys), o)
	return edit, confirm(want, t, err)
}

func one(tokens []verify.Token) verify.Token {
	if len(tokens) == 0 {
		return verify.Token{}
	}
	return tokens[0]
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

// revocations returns the text of the key token-revoked with the digests of
// want, keeping every line that may stay.
func revocations(text []byte, have, want []rotation.ID) (out string, changed bool) {
	var b strings.Builder
	for raw := range strings.Lines(string(text)) {
		fields := strings.FieldsFunc(strings.TrimPrefix(raw, bom), isWhite)
		if len(fields) > 0 && fields[0][0] != '#' {
			var id rotation.ID
			_, _ = hex.Decode(id[:], []byte(fields[len(fields)-1])) // it has been parsed
			if !slices.Contains(want, id) {
				changed = true
				continue
			}
		}
		b.WriteString(raw)
	}
	for _, id := range want {
		if slices.Contains(have, id) {
			continue
		}
		if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(hex.EncodeToString(id[:]) + "\n")
		changed = true
	}
	return b.String(), changed
}
