// Package token parses the sources of shared tokens and verifies shared tokens. [Parse]
// and [ParseDir] parse a file, an environment variable or a directory. A [Set] is the
// verifier of the tokens that one ledger accepts.
package token

import (
	"strings"

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
		if value, ok := keys[k.key]; ok {
			p.key = k.key
			p.single(value, k.slot, keys)
		}
	}
	p.key = ""
	return p.result("no key " + FileCurrent + "; put the current token there")
}
