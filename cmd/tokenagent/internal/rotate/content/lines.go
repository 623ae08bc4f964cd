package content

import (
	"bytes"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A line of a file of tokens declares one thing; see [token.Parse].
type line struct {
	declaration
	text string
}

// lines returns what c declares, in the order in which a file has it.
func (c Content) lines() (out []line) {
	add := func(v Credential, slot rotation.Slot, until time.Time) {
		l := line{declaration{slot.String(), v.ID(), v.key.KeyID(), v.key.Algorithm(), 0}, v.Reveal()}
		if slot == rotation.Next || slot == rotation.Previous {
			l.text += " " + l.word
		}
		if !until.IsZero() {
			l.until = until.Unix()
			l.text += " until=" + Deadline(until)
		}
		out = append(out, l)
	}
	add(c.Current, rotation.Current, time.Time{})
	for _, v := range c.Next {
		add(v, rotation.Next, time.Time{})
	}
	for _, s := range c.Previous {
		add(s.Token, rotation.Previous, s.Until)
	}
	for _, v := range c.Listed {
		add(v, rotation.Listed, time.Time{})
	}
	for _, word := range []string{wordRevoked, wordRetired, wordUnrevoked} {
		for _, id := range c.digests(word) {
			out = append(out, line{declaration{word: word, id: id}, word + " " + hex.EncodeToString(id[:])})
		}
	}
	return out
}

// parseLine returns what the line with these fields declares, if the line is valid. It
// returns the zero declaration for a comment, and a listed token for the current one.
func parseLine(fields []string) declaration {
	if len(fields) == 0 || fields[0][0] == '#' {
		return declaration{}
	}
	switch word := fields[0]; word {
	case wordRevoked, wordRetired, wordUnrevoked:
		id, _ := Revocation(strings.Join(fields[1:], " "), Tokens)
		return declaration{word: word, id: id}
	}
	d := declaration{word: rotation.Listed.String(), id: verify.Digest(fields[0])}
	if len(fields) > 1 {
		d.word = fields[1]
	}
	if len(fields) > 2 {
		until, _ := time.Parse(time.RFC3339, strings.TrimPrefix(fields[2], "until="))
		d.until = until.Unix()
	}
	return d
}

const (
	bom = "\xef\xbb\xbf"
	// white is the white space around and between the fields of a line.
	white = " \t\r\v\f\n"
)

func fields(text string) []string {
	return strings.FieldsFunc(strings.TrimPrefix(text, bom), func(r rune) bool { return strings.ContainsRune(white, r) })
}

// ParseLines parses the text of a file of tokens; see [token.Parse].
func ParseLines(text []byte, o Options) (Content, error) {
	t, err := token.Parse(text, o.tokens())
	return ofTokens(t), err
}

// IsOneToken reports whether text, which parses, is one token and white space. Programs that
// take the whole file as the token can read only this form.
func IsOneToken(text []byte) bool { return len(fields(string(text))) == 1 }

// EditLines returns text, which declares have, changed so that it declares want. Comments,
// blank lines and the lines of what stays keep their bytes and their order. New lines come
// last. The result has been parsed again.
func EditLines(text []byte, have, want Content, o Options) ([]byte, error) {
	was, is := have.declarations(), want.declarations()
	var fresh []string
	for _, l := range want.lines() {
		if !was[l.declaration] && l.word != rotation.Current.String() {
			fresh = append(fresh, l.text)
		}
	}
	seen := false
	out := editText(text, fresh, func(raw string) string {
		f := fields(raw)
		switch d := parseLine(f); {
		case d.word == rotation.Listed.String() && !seen: // the current token
			seen = true
			if want.HasCurrent() {
				return strings.Replace(raw, f[0], want.Current.Reveal(), 1)
			}
		case was[d] && !is[d]:
			return ""
		}
		return raw
	})
	got, err := ParseLines(out, o)
	return out, confirm(want, got, err)
}

// editText returns text with edit applied to each line, and with the lines fresh behind
// it.
func editText(text []byte, fresh []string, edit func(raw string) string) (out []byte) {
	eol := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		eol = "\r\n"
	}
	for raw := range bytes.Lines(text) {
		out = append(out, edit(string(raw))...)
	}
	for _, l := range fresh {
		if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
			out = append(out, eol...)
		}
		out = append(out, l+eol...)
	}
	return out
}

// Revocation returns what a line in a list of revocations revokes, and whether the line
// is valid.
func Revocation(text string, k Kind) (id rotation.ID, ok bool) {
	c, _ := ParseKeys(map[string][]byte{k.names().revoked: []byte(text)}, Options{Kind: k})
	if len(c.Revoked) != 1 {
		return rotation.ID{}, false
	}
	return c.Revoked[0], true
}
