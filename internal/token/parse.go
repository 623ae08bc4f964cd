// Package token parses the sources of shared tokens and verifies shared tokens. [Parse]
// parses a file or an environment variable, [ParseDir] a directory. A [Set] verifies the
// tokens that one ledger accepts.
package token

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/placeholder"
	"github.com/tokenagent/tokenagent/internal/position"
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
//	TOKEN [next|previous] [until=RFC3339] [name=NAME]
//	revoked HEX64
//	retired HEX64
//	unrevoked HEX64
//
// HEX64 is the SHA-256 of a token in hexadecimal. NAME is the client that the token belongs
// to; without it, the token belongs to the unnamed client. The first token of a client
// without a slot is current, and its other tokens without a slot are listed. Every client
// with a token needs a current one, and a token belongs to one client. Only previous takes
// until. Parse ignores blank lines, lines that begin with #, a UTF-8 byte order mark,
// surrounding white space and CRLF.
//
// The error names the source and the line, says how to fix the line, and never quotes the
// text. Together with an error, Parse returns the well-formed revocations, because they
// hold even if the rest of the text is rejected.
func Parse(text []byte, o Options) (Tokens, error) {
	p := newParser(o, bytes.Count(text, []byte("\n"))+1)
	p.lines(text, func(fields []string) {
		if !p.digest(fields[0], fields[1:]) {
			p.declare(fields)
		}
	})
	return p.result(func(client string) string {
		if client == "" {
			return "no current token; put one on its own line"
		}
		return "client " + client + " has no current token; put one on its own line, with name=" + client
	})
}

// The keys of a directory source, such as a mounted Kubernetes Secret. The keys for the
// tokens of a named client end in a dot and its name, as in token.NAME.
const (
	FileCurrent       = "token"
	FileNext          = "token-next"
	FilePrevious      = "token-previous"
	FilePreviousUntil = "token-previous-until"
	FileRevoked       = "token-revoked"
	FileRetired       = "token-retired"
	FileUnrevoked     = "token-unrevoked"
)

// FileNames returns the names of the files that ParseDir reads, in a new slice. A name that
// ends with * stands for every name that begins with the rest (see reload.Dir).
func FileNames() []string {
	names := []string{FileRevoked, FileRetired, FileUnrevoked}
	for _, kind := range []string{FileCurrent, FileNext, FilePrevious, FilePreviousUntil} {
		names = append(names, kind, FileName(kind, "*"))
	}
	return names
}

// FileName returns the name of the file of the given kind, such as FileNext, for a client.
func FileName(kind, client string) string {
	if client == "" {
		return kind
	}
	return kind + "." + client
}

// secretKey matches the names that Kubernetes allows as the key of a Secret. ParseDir
// ignores other names, such as those of an editor's backup copies.
var secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// IsFileName reports whether ParseDir reads a file of that name.
func IsFileName(name string) bool {
	switch kind, _, named := strings.Cut(name, "."); kind {
	case FileCurrent, FileNext, FilePrevious, FilePreviousUntil:
		return secretKey.MatchString(name)
	case FileRevoked, FileRetired, FileUnrevoked:
		return !named
	default:
		return false
	}
}

// ParseDir parses the files of a directory, given by name in keys. The file token holds
// the current token of the unnamed client, and token.NAME that of the client NAME. The
// files token-next and token-next.NAME are optional, and so are token-previous and
// token-previous.NAME with their RFC 3339 deadlines in token-previous-until and
// token-previous-until.NAME. There must be a token, and every client with a token needs a
// current one. The files token-revoked, token-retired and token-unrevoked hold one digest
// per line. ParseDir ignores other names. It returns errors as [Parse] does.
func ParseDir(keys map[string][]byte, o Options) (Tokens, error) {
	o.Name = strings.TrimSuffix(o.Name, "/")
	p := newParser(o, len(keys))
	for _, word := range []string{"revoked", "retired", "unrevoked"} {
		p.key = "token-" + word
		p.lines(keys[p.key], func(fields []string) {
			if fields[0] == word { // accept the form of Parse, too
				fields = fields[1:]
			}
			p.digest(word, fields)
		})
	}
	slots := map[string]rotation.Slot{FileCurrent: rotation.Current, FileNext: rotation.Next, FilePrevious: rotation.Previous}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		kind, client, named := strings.Cut(key, ".")
		d := rotation.Decl[Token]{Slot: slots[kind], Client: client}
		if d.Slot == 0 || !secretKey.MatchString(key) {
			continue
		}
		untilKey := FileName(FilePreviousUntil, client)
		if text, ok := keys[untilKey]; ok && d.Slot == rotation.Previous {
			p.key = untilKey
			d.Until = p.deadline(strings.Trim(strings.TrimPrefix(string(text), bom), white+"\n"))
		}
		p.key = key
		if named {
			p.checkClient(client)
		}
		p.single(keys[key], d)
	}
	return p.result(func(client string) string {
		return "no key " + FileName(FileCurrent, client) + "; put the current token there"
	})
}

// A parser collects the content of a source and the first error in it.
type parser struct {
	o       Options
	key     string // the directory key that is being parsed; "" in a file
	line    int    // the line that is being parsed, from 1; 0 if none
	got     Tokens
	current map[string]bool        // the clients with a current token
	owners  map[rotation.ID]string // the client of each token
	err     error
}

// newParser returns a parser of content with at most size tokens. It allocates space for
// the first 10,000 in advance, because growing step by step takes half the time of parsing.
func newParser(o Options, size int) parser {
	size = min(size, 10_000)
	return parser{
		o: o, current: make(map[string]bool, size), owners: make(map[rotation.ID]string, size),
		got: Tokens{Decls: make([]rotation.Decl[Token], 0, size)},
	}
}

// fail records the first error with its position. The format and args must not contain
// the text of the source.
func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = errors.New(position.Of("token source", p.o.Name, p.key, p.line) + ": " + fmt.Sprintf(format, args...))
	}
}

// result returns the content and the first error. A source without a token is an error,
// and so is a client with a token but no current one. missing returns the text of both.
func (p *parser) result(missing func(client string) string) (Tokens, error) {
	p.line, p.key = 0, ""
	if len(p.got.Decls) == 0 {
		p.fail("%s", missing(""))
	}
	for _, d := range p.got.Decls {
		if !p.current[d.Client] {
			p.fail("%s", missing(d.Client))
		}
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

// declare parses a line TOKEN [next|previous] [until=RFC3339] [name=NAME].
func (p *parser) declare(line []string) {
	var d rotation.Decl[Token]
	fields := line[1:]
	if len(fields) > 0 && (fields[0] == rotation.Next.String() || fields[0] == rotation.Previous.String()) {
		_ = d.Slot.UnmarshalText([]byte(fields[0]))
		fields = fields[1:]
	}
	for _, field := range fields {
		word, value, _ := strings.Cut(field, "=")
		switch {
		case word != "until" && word != "name" || field == word:
			p.placeholder(line...) // a placeholder is the more specific error
			p.fail("only next, previous, until= or name= may follow the token; write one token per line")
		case word == "until" && !d.Until.IsZero(), word == "name" && d.Client != "":
			p.fail("%s= appears twice in the line; write TOKEN [next|previous] [until=TIME] [name=NAME]", word)
		case word == "name":
			p.checkClient(value)
			d.Client = value
		case d.Slot != rotation.Previous:
			p.fail("until= needs previous; write TOKEN previous until=TIME")
		default:
			d.Until = p.deadline(value)
		}
	}
	if d.Slot == 0 {
		d.Slot = rotation.Listed
		if !p.current[d.Client] {
			d.Slot = rotation.Current
		}
	}
	p.add(line[0], d)
}

// checkClient records an error if name cannot be the name of a client.
func (p *parser) checkClient(name string) {
	if !rotation.ValidClient(name) {
		p.fail(rotation.ClientRule)
	}
}

// single parses the value of a directory key, which holds one token, declared as d says.
func (p *parser) single(value []byte, d rotation.Decl[Token]) {
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
	p.add(token, d)
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

// add declares the token text as d says. It records an error if text is not a valid token,
// or belongs to another client.
func (p *parser) add(text string, d rotation.Decl[Token]) {
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
	d.Value = New(text)
	d.ID = d.Value.ID()
	if owner, ok := p.owners[d.ID]; ok && owner != d.Client {
		p.fail("%s and %s have the same token; give each client a token of its own", rotation.ClientLabel(owner), rotation.ClientLabel(d.Client))
	}
	p.owners[d.ID] = d.Client
	p.current[d.Client] = p.current[d.Client] || d.Slot == rotation.Current
	p.got.Decls = append(p.got.Decls, d)
}
