package content

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// SalvageLines returns what can be told of the text of a file of tokens that does
// not parse, for the reason fault: its revocations, which hold all the same, and
// the current token where it is certain, else the zero Credential.
func SalvageLines(text []byte, o Options, fault error) Content {
	t, _ := token.Parse(text, o.tokens())
	c := Content{Fault: fault, Revoked: t.Revoked}
	for raw := range bytes.Lines(bytes.TrimPrefix(text, []byte(bom))) {
		switch lineItem(strings.FieldsFunc(string(raw), isWhite)).word {
		case "", wordRevoked, wordRetired, wordUnrevoked, rotation.Next.String(), rotation.Previous.String():
			continue
		}
		// The first of the others is the current one, or was to be.
		if t, err := token.Parse(raw, o.tokens()); err == nil {
			c.Current = Of(t).Current
		}
		break
	}
	return c
}

// SalvageKeys is SalvageLines for the keys of a directory or a Secret, of either
// kind.
func SalvageKeys(keys map[string][]byte, o Options, fault error) Content {
	c := Content{Kind: o.Kind, Fault: fault, Revoked: o.revoked(keys)}
	current := o.Kind.names().current
	value, there := keys[current]
	c.Set = !there && o.Kind.HasCurrent(keys)
	if there {
		if got, err := ParseKeys(map[string][]byte{current: value}, o); err == nil {
			c.Current = got.Current
		}
	}
	return c
}

// revoked returns what keys revoke, whether they parse or not.
func (o Options) revoked(keys map[string][]byte) []rotation.ID {
	if o.Kind == Keys {
		got, _ := jwks.ParseKeys(keys, o.keys())
		return got.Revoked
	}
	got, _ := token.ParseDir(keys, o.tokens())
	return got.Revoked
}

// revokeLines returns text, which does not parse, with a line behind it for each ID
// that want revokes as well, and without those that lift that. All else keeps its
// bytes. It has been read back.
func revokeLines(text []byte, want Content, o Options) ([]byte, error) {
	was, _ := token.Parse(text, o.tokens())
	fresh := added(was.Revoked, want.Revoked)
	out := withoutLines(text, func(line string) bool {
		lifted, ok := digestLine(line, wordUnrevoked, Tokens)
		return ok && slices.Contains(fresh, lifted) && strings.HasPrefix(line, wordUnrevoked)
	})
	for _, id := range fresh {
		out = behind(out, "revoked "+hex.EncodeToString(id[:]))
	}
	is, _ := token.Parse(out, o.tokens())
	return out, confirmRevoked(want, is.Revoked)
}

// revokeKeys is revokeLines for the keys of a directory or a Secret.
func revokeKeys(keys map[string][]byte, want Content, o Options) (KeyEdit, error) {
	n, edit := o.Kind.names(), KeyEdit{}
	fresh := added(o.revoked(keys), want.Revoked)
	if len(fresh) > 0 {
		edit[n.revoked] = editDigests(keys[n.revoked], wordRevoked, want, func(rotation.ID) bool { return false }, fresh)
	}
	lifted := editDigests(keys[n.unrevoked], wordUnrevoked, want, func(id rotation.ID) bool { return slices.Contains(fresh, id) }, nil)
	if len(lifted) < len(keys[n.unrevoked]) {
		edit[n.unrevoked] = lifted // nil where nothing is left: the key goes
	}
	return edit, confirmRevoked(want, o.revoked(edit.Apply(keys)))
}

// added returns those of is that are not among was.
func added(was, is []rotation.ID) []rotation.ID {
	return slices.DeleteFunc(slices.Clone(is), func(id rotation.ID) bool { return slices.Contains(was, id) })
}

// withoutLines returns text without the lines, trimmed, that drop names; nil where
// none is left.
func withoutLines(text []byte, drop func(line string) bool) (out []byte) {
	for raw := range bytes.Lines(text) {
		if !drop(strings.Trim(strings.TrimPrefix(string(raw), bom), white)) {
			out = append(out, raw...)
		}
	}
	return out
}

// digestLine returns the digest that a trimmed line of a list says, which word may
// begin, and whether it says one.
func digestLine(line, word string, k Kind) (id rotation.ID, ok bool) {
	if rest, ok := strings.CutPrefix(line, word); ok && strings.IndexAny(rest, white) == 0 { // a file's form
		line = strings.Trim(rest, white)
	}
	return Revocation(line, k)
}

// behind puts a line behind text, which keeps its bytes.
func behind(text []byte, line string) []byte {
	eol := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		eol = "\r\n"
	}
	out := slices.Clone(text)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, eol...)
	}
	return append(out, line+eol...)
}

func confirmRevoked(want Content, is []rotation.ID) error {
	if !(Content{Revoked: want.Revoked}).Equal(Content{Revoked: is}) {
		return ErrUnfaithful
	}
	return nil
}
