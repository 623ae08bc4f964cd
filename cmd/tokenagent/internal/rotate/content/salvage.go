package content

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// SalvageLines returns what can be told of the text of a file of tokens that does
// not parse: its revocations, which hold all the same, and the current token
// where it is certain, else the zero Credential.
func SalvageLines(text []byte, o Options) Content {
	t, _ := verify.Parse(text, o.tokens())
	c := Content{Revoked: t.Revoked}
	for raw := range bytes.Lines(bytes.TrimPrefix(text, []byte(bom))) {
		fields := strings.FieldsFunc(string(raw), isWhite)
		if len(fields) > 0 {
			if _, isDigest := c.digests(fields[0]); isDigest {
				continue
			}
		}
		switch {
		case len(fields) == 0, fields[0][0] == '#':
			continue
		case len(fields) > 1 && (fields[1] == rotation.Next.String() || fields[1] == rotation.Previous.String()):
			continue
		}
		// The first of the others is the current one, or was to be.
		if t, err := verify.Parse(raw, o.tokens()); err == nil {
			c.Current = Of(t).Current
		}
		break
	}
	return c
}

// SalvageKeys is SalvageLines for the keys of a directory or a Secret, of either
// kind.
func SalvageKeys(keys map[string][]byte, o Options) Content {
	c := Content{Kind: o.Kind, Revoked: o.revoked(keys)}
	current := o.Kind.names().current
	if value, there := keys[current]; there {
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
	got, _ := verify.ParseKeys(keys, o.tokens())
	return got.Revoked
}

// RevokeLine returns text, which need not parse, with a line behind it that
// revokes id, and without those that lift that. It has been read back.
func RevokeLine(text []byte, id rotation.ID, o Options) ([]byte, error) {
	kept := withoutLines(text, func(line string) bool {
		lifted, ok := digestLine(line, wordUnrevoked, Tokens)
		return ok && lifted == id && strings.HasPrefix(line, wordUnrevoked)
	})
	out := behind(kept, "revoked "+hex.EncodeToString(id[:]))
	was, _ := verify.Parse(text, o.tokens())
	is, _ := verify.Parse(out, o.tokens())
	return out, confirmRevoked(was.Revoked, is.Revoked, id)
}

// RevokeKey returns what is to change in keys, which need not parse, so that they
// revoke id: a line more, which is hex digits where line is "", and without those
// that lift that. It has been read back.
func RevokeKey(keys map[string][]byte, id rotation.ID, line string, o Options) (KeyEdit, error) {
	if line == "" {
		line = hex.EncodeToString(id[:])
	}
	n := o.Kind.names()
	edit := KeyEdit{n.revoked: behind(keys[n.revoked], line)}
	lifted := keys[n.unrevoked]
	kept := withoutLines(lifted, func(line string) bool {
		got, ok := digestLine(line, wordUnrevoked, o.Kind)
		return ok && got == id
	})
	if len(kept) < len(lifted) {
		edit[n.unrevoked] = kept // nil where nothing is left: the key goes
	}
	return edit, confirmRevoked(o.revoked(keys), o.revoked(edit.Apply(keys)), id)
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

func confirmRevoked(was, is []rotation.ID, id rotation.ID) error {
	for _, want := range append(slices.Clone(was), id) {
		if !slices.Contains(is, want) {
			return ErrUnfaithful
		}
	}
	return nil
}
