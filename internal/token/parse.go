// Package token parses the sources of shared tokens and verifies shared tokens. [Parse]
// and [ParseDir] parse a file, an environment variable or a directory. A [Set] is the
// verifier of the tokens that one ledger accepts.
package token

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/placeholder"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// DefaultMinBytes is the default minimum length of a token in bytes. A shorter token is
// easy to guess, or is the rest of a truncated token.
const DefaultMinBytes = 16

// Tokens is the content of a token source.
type Tokens = rotation.Content[Token]

// Options configure the parsing of token sources. The zero Options are valid.
type Options struct {
	MinTokenBytes int    // shortest token in bytes; 0 means DefaultMinBytes
	Name          string // name of the source in errors, such as its path
}

// Parse parses the text of a file or of an environment variable. The text holds a single
// token, or lines of the form
//
//	TOKEN [next|previous] [until=RFC3339]
//	revoked HEX64
//	retired HEX64
//	unrevoked HEX64
//
// HEX64 is the SHA-256 of a token in hexadecimal. The first token without a slot is
// current, and the other tokens without a slot are listed. Only previous takes until.
// Parse ignores blank lines, lines that begin with #, a UTF-8 byte order mark,
// surrounding white space and CRLF.
//
// The error names the source and the line, says how to fix the line, and never quotes the
// text. Together with an error, Parse returns the well-formed revocations, because they
// hold even if the rest of the text is rejected.
func Parse(text []byte, o Options) (Tokens, error) {
	p := parser{o: o}
	p.lines(text, func(fields []string) {
		if !p.digest(fields[0], fields[1:]) {
			p.declare(fields)
		}
	})
	return p.result("no current token; put one on its own line")
}

// The keys of a directory source, such as a mounted Kubernetes Secret.
const (
	FileCurrent       = "token"
	FileNext          = "token-next"
	FilePrevious      = "token-previous"
	FilePreviousUntil = "token-previous-until"
	FileRevoked       = "token-revoked"
	FileRetired       = "token-retired"
	FileUnrevoked     = "token-unrevoked"
)

// FileNames returns the names of the files that ParseDir reads, in a new slice.
func FileNames() []string {
	return []string{FileCurrent, FileNext, FilePrevious, FilePreviousUntil, FileRevoked, FileRetired, FileUnrevoked}
}

// ParseDir parses the files of a directory, given by name in keys. The file token is
// required. The file token-next is optional, and so is token-previous with its RFC 3339
// deadline in token-previous-until. The files token-revoked, token-retired and
// token-unrevoked hold one digest per line. ParseDir ignores other names. It returns
// errors as [Parse] does.
func ParseDir(keys map[string][]byte, o Options) (Tokens, error) {
	o.Name = strings.TrimSuffix(o.Name, "/")
	p := parser{o: o}
	for _, word := range []string{"revoked", "retired", "unrevoked"} {
		p.key = "token-" + word
		p.lines(keys[p.key], func(fields []string) {
			if fields[0] == word { // accept the form of Parse, too
				fields = fields[1:]
			}
			p.digest(word, fields)
		})
	}
	for _, k := range []struct {
		key  string
		slot rotation.Slot
	}{{FileCurrent, rotation.Current}, {FileNext, rotation.Next}, {FilePrevious, rotation.Previous}} {
		value, ok := keys[k.key]
		if !ok {
			continue
		}
		var until time.Time
		if text, ok := keys[FilePreviousUntil]; ok && k.slot == rotation.Previous {
			p.key = FilePreviousUntil
			until = p.deadline(strings.Trim(strings.TrimPrefix(string(text), bom), white+"\n"))
		}
		p.key = k.key
		p.single(value, k.slot, until)
	}
	p.key = ""
	return p.result("no key " + FileCurrent + "; put the current token there")
}

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
	if len(fields) != 1 || id.UnmarshalText([]byte(fields[0])) != nil {
		p.fail("%s must be the 64 hex digits of the token's SHA-256, and nothing else", noun)
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
		until, fields = p.deadline(value), fields[1:]
	}
	if len(fields) > 0 {
		p.fail("too many words in the line; write TOKEN [next|previous] [until=TIME]")
		return
	}
	p.add(text, slot, until)
}

// single parses the value of a directory key, which holds one token.
func (p *parser) single(value []byte, slot rotation.Slot, until time.Time) {
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
	p.add(token, slot, until)
}

func (p *parser) deadline(value string) time.Time {
	t, err := rotation.ParseDeadline(value)
	if err != nil {
		p.fail("%v", err)
	}
	return t
}

// placeholder records an error if the line of words is a placeholder or another text
// instead of a token.
func (p *parser) placeholder(words ...string) {
	if what := placeholder.Describe(strings.Join(words, " ")); what != "" {
		p.fail("it looks like %s and not like a token; put only the token itself there", what)
	}
}

// add declares a token. It records an error if text is not a valid token.
func (p *parser) add(text string, slot rotation.Slot, until time.Time) {
	p.placeholder(text)
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7E {
			// daprd 1.16 cannot send such bytes over gRPC, and some of them not over HTTP.
			p.fail("byte %d of the token is outside 0x21 to 0x7E; use printable ASCII", i+1)
		}
	}
	if least := cmp.Or(p.o.MinTokenBytes, DefaultMinBytes); len(text) < least {
		p.fail("the token is %d bytes, shorter than %d; use a longer one (tokenagent generate)", len(text), least)
	}
	t := New(text)
	p.got.Decls = append(p.got.Decls, rotation.Decl[Token]{ID: t.ID(), Slot: slot, Until: until, Value: t})
	p.current = p.current || slot == rotation.Current
}
