package content

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	bom = "\xef\xbb\xbf"
	// white is the white space around and between the fields of a line.
	white = " \t\r\v\f\n"
)

func fields(text string) []string {
	return strings.FieldsFunc(strings.TrimPrefix(text, bom), func(r rune) bool { return strings.ContainsRune(white, r) })
}

// IsOneToken reports whether text, which parses, is one token and white space. Programs that
// take the whole file as the token can read only this form.
func IsOneToken(text []byte) bool { return len(fields(string(text))) == 1 }

// digests returns the digests that c declares with word.
func (c Content) digests(word string) []rotation.ID {
	switch word {
	case "revoked":
		return c.Revoked
	case "retired":
		return c.Retired
	default:
		return c.Unrevoked
	}
}

func (c Content) digestText(id rotation.ID) string {
	if text := c.Wording[id]; text != "" {
		return text
	}
	return hex.EncodeToString(id[:])
}

// parseLine returns what a line of a valid file of tokens declares: the zero declaration
// for a comment and for a token of another client, and a listed token for the current one.
func parseLine(raw, client string) declaration {
	f := fields(raw)
	switch {
	case len(f) == 0 || f[0][0] == '#':
		return declaration{}
	case f[0] == "revoked" || f[0] == "retired" || f[0] == "unrevoked":
		return parseDigest(raw, f[0], Tokens)
	}
	d, owner := declaration{word: rotation.Listed.String(), id: verify.Digest(f[0])}, ""
	for _, field := range f[1:] {
		switch word, value, _ := strings.Cut(field, "="); word {
		case "until":
			until, _ := time.Parse(time.RFC3339, value)
			d.until = until.Unix()
		case "name":
			owner = value
		default:
			d.word = word
		}
	}
	if owner != client {
		return declaration{}
	}
	return d
}

// parseDigest returns what a line of a valid list of the digests of word declares.
func parseDigest(raw, word string, k Kind) declaration {
	text := strings.Trim(strings.TrimPrefix(raw, bom), white)
	if rest, ok := strings.CutPrefix(text, word); ok { // agents take the form of a file, too
		text = strings.TrimLeft(rest, white)
	}
	if id, ok := Revocation(text, k); ok {
		return declaration{word: word, id: id}
	}
	return declaration{}
}

// Revocation returns what a line in a list of revocations revokes, and whether the line
// is valid.
func Revocation(text string, k Kind) (id rotation.ID, ok bool) {
	s, _ := Parse(map[string][]byte{k.names("").revoked: []byte(text)}, "", Options{Kind: k})
	if len(s.Revoked) != 1 {
		return id, false
	}
	return s.Revoked[0], true
}

// editLines returns text, a file of tokens, changed so that it declares want instead of
// have. Comments, blank lines, and the lines of other clients and of what stays keep their
// bytes and their order.
func editLines(text []byte, have, want Content) []byte {
	others, replaced := want.lines(), !have.HasCurrent()
	if have.HasCurrent() {
		others = slices.DeleteFunc(others, func(l line) bool { return l.word == rotation.Current.String() })
	}
	return edit(text, others, func(raw string) (string, declaration) {
		d := parseLine(raw, want.Client)
		if d.word != rotation.Listed.String() || replaced {
			return raw, d
		}
		replaced = true // the first token without a slot is the current one
		if !want.HasCurrent() {
			return "", declaration{}
		}
		return strings.Replace(raw, fields(raw)[0], want.Current.Reveal(), 1), declaration{}
	})
}

// editDigests returns text, the list of the digests of word in a directory, changed so
// that it declares want.
func editDigests(text []byte, word string, want Content) []byte {
	var lines []line
	for _, id := range want.digests(word) {
		lines = append(lines, line{declaration: declaration{word: word, id: id}, text: want.digestText(id)})
	}
	return edit(text, lines, func(raw string) (string, declaration) { return raw, parseDigest(raw, word, want.Kind) })
}

// edit returns text without the lines that declare something else than want, and with
// those of want that are missing behind it. parse returns the line to keep, and what it
// declares: the zero declaration for one that is kept in any case.
func edit(text []byte, want []line, parse func(raw string) (string, declaration)) (out []byte) {
	wanted, missing := map[declaration]bool{}, map[declaration]bool{}
	for _, l := range want {
		wanted[l.declaration], missing[l.declaration] = true, true
	}
	for raw := range bytes.Lines(text) {
		keep, d := parse(string(raw))
		if wanted[d] || d == (declaration{}) {
			delete(missing, d)
			out = append(out, keep...)
		}
	}
	eol := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		eol = "\r\n"
	}
	for _, l := range want {
		if !missing[l.declaration] {
			continue
		}
		delete(missing, l.declaration)
		if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
			out = append(out, eol...)
		}
		out = append(out, l.text+eol...)
	}
	return out
}
