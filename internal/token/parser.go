package token

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/placeholder"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A parser collects the content of a source and the first error in it.
type parser struct {
	o       Options
	key     string // the directory key that is being parsed; "" in a file
	line    int    // the line that is being parsed, from 1; 0 if none
	got     Tokens
	current bool // whether there is a current token
	err     error
}

// fail records the first error with its position. The format and args must not contain
// the text of the source.
func (p *parser) fail(format string, args ...any) {
	if p.err != nil {
		return
	}
	place := p.o.Name
	switch {
	case place == "" && p.key == "":
		place = "token source"
	case place == "":
		place = p.key
	case p.key != "":
		place = place + "/" + p.key
	}
	if p.line > 0 {
		place = fmt.Sprintf("%s:%d", place, p.line)
	}
	p.err = fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))
}

// result returns the content or the first error. The error is missing if there is no
// other error and no current token.
func (p *parser) result(missing string) (Tokens, error) {
	if !p.current {
		p.line = 0
		p.fail("%s", missing)
	}
	if p.err != nil { // only the revocations of an invalid source hold
		p.got = Tokens{Revoked: p.got.Revoked}
	}
	return p.got, p.err
}

const bom = "\xef\xbb\xbf"

// white lists the white space around and between fields. It is ASCII only: any other byte
// outside 0x21 to 0x7E is an error.
const white = " \t\r\v\f"

// lines calls f with the fields of each line, except for blank lines and comments.
func (p *parser) lines(text []byte, f func(fields []string)) {
	text = bytes.TrimPrefix(text, []byte(bom))
	p.line = 0
	for line := range bytes.Lines(text) {
		p.line++
		fields := strings.FieldsFunc(string(line), func(r rune) bool {
			return r == '\n' || strings.ContainsRune(white, r)
		})
		if len(fields) > 0 && fields[0][0] != '#' {
			f(fields)
		}
	}
	p.line = 0
}

// digest parses the fields after word, which are one digest, and appends it to the list
// of that word. It reports whether word begins such a line.
func (p *parser) digest(word string, fields []string) bool {
	var noun string
	var list *[]rotation.ID
	switch word {
	case "revoked":
		noun, list = "a revocation", &p.got.Revoked
	case "retired":
		noun, list = "a retirement", &p.got.Retired
	case "unrevoked":
		noun, list = "a lifted revocation", &p.got.Unrevoked
	default:
		return false
	}
	var id rotation.ID
	if len(fields) != 1 || len(fields[0]) != hex.EncodedLen(len(id)) {
		p.fail("%s must be the 64 hex digits of the token's SHA-256, and nothing else", noun)
	} else if _, err := hex.Decode(id[:], []byte(fields[0])); err != nil {
		p.fail("%s has a character that is not a hex digit", noun)
	} else {
		*list = append(*list, id)
	}
	return true
}

// declare parses a line TOKEN [next|previous] [until=RFC3339].
func (p *parser) declare(fields []string) {
	text, line, fields := fields[0], fields, fields[1:]
	slot := rotation.Listed
	if !p.current {
		slot = rotation.Current
	}
	if len(fields) > 0 {
		switch fields[0] {
		case rotation.Next.String():
			slot, fields = rotation.Next, fields[1:]
		case rotation.Previous.String():
			slot, fields = rotation.Previous, fields[1:]
		}
	}
	var until time.Time
	if len(fields) > 0 {
		value, ok := strings.CutPrefix(fields[0], "until=")
		if !ok {
			p.placeholder(line...) // a placeholder is the more specific error
			p.fail("only next, previous or until= may follow the token; write one token per line")
			return
		}
		if slot != rotation.Previous {
			p.fail("until= needs previous; write TOKEN previous until=TIME")
			return
		}
		if until, ok = p.time(value); !ok {
			return
		}
		fields = fields[1:]
	}
	if len(fields) > 0 {
		p.fail("too many words in the line; write TOKEN [next|previous] [until=TIME]")
		return
	}
	p.add(text, slot, until)
}

// single parses the value of a directory key, which holds one token.
func (p *parser) single(value []byte, slot rotation.Slot, keys map[string][]byte) {
	token, lines := "", 0
	p.lines(value, func(fields []string) {
		p.placeholder(fields...) // a placeholder is the more specific error
		if lines++; lines > 1 || len(fields) > 1 {
			p.fail("more than one word; a key holds one token")
			return
		}
		token = fields[0]
	})
	if lines == 0 {
		p.fail("empty; put a token there, or delete the key")
		return
	}
	var until time.Time
	if value, ok := keys[FilePreviousUntil]; ok && slot == rotation.Previous {
		key := p.key
		p.key = FilePreviousUntil
		until, _ = p.time(strings.Trim(strings.TrimPrefix(string(value), bom), white+"\n"))
		p.key = key
	}
	p.add(token, slot, until)
}

func (p *parser) time(value string) (time.Time, bool) {
	t, err := rotation.ParseDeadline(value)
	if err != nil {
		p.fail("%v", err)
		return time.Time{}, false
	}
	return t, true
}

// placeholder reports whether the line of words is a placeholder or another text instead
// of a token. If so, placeholder records an error.
func (p *parser) placeholder(words ...string) bool {
	what := placeholder.Describe(strings.Join(words, " "))
	if what != "" {
		p.fail("it looks like %s and not like a token; put only the token itself there", what)
	}
	return what != ""
}

// add declares a token. It records an error if text is not a valid token.
func (p *parser) add(text string, slot rotation.Slot, until time.Time) {
	if p.placeholder(text) {
		return
	}
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7E {
			// daprd 1.16 cannot send such bytes over gRPC, and some of them not over HTTP.
			p.fail("byte %d of the token is outside 0x21 to 0x7E; use printable ASCII", i+1)
			return
		}
	}
	least := p.o.MinTokenBytes
	if least == 0 {
		least = DefaultMinBytes
	}
	if len(text) < least {
		p.fail("the token is %d bytes, shorter than %d; use a longer one (tokenagent generate)", len(text), least)
		return
	}
	t := New(text)
	p.got.Decls = append(p.got.Decls, rotation.Decl[Token]{ID: t.ID(), Slot: slot, Until: until, Value: t})
	p.current = p.current || slot == rotation.Current
}
