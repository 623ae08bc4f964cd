// Package token reads the sources of shared tokens and verifies such tokens.
// [Parse] and [ParseDir] read what a file, an environment variable or a directory
// declares, and a [Set] is the verifier of the tokens that one ledger accepts.
package token

import (
	"strings"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// DefaultMinBytes is the length under which a token is refused as too
// easy to guess, or as the torn half of another.
const DefaultMinBytes = 16

// Tokens is what a token source says.
type Tokens = rotation.Content[Token]

// Options tune the parsing of token sources. The zero value is good.
type Options struct {
	MinTokenBytes int    // shortest token in bytes; 0 means DefaultMinBytes
	Name          string // what errors call the source, such as its path
}

// Parse parses the text of a file or of an environment value: one token, or
// lines of
//
//	TOKEN [next|previous] [until=RFC3339]
//	revoked HEX64
//	retired HEX64
//	unrevoked HEX64
//
// where HEX64 is the SHA-256 of a token. The first bare token is current,
// further bare ones are listed; until goes with previous. Blank lines and
// lines that begin with # are ignored, as are a UTF-8 byte order mark,
// surrounding white space and CRLF.
//
// The error names the source, the line and what to do, and quotes nothing. The
// well-formed revocations are returned beside it, since they hold even where
// the rest is rejected.
func Parse(text []byte, o Options) (Tokens, error) {
	p := parser{o: o}
	p.lines(text, func(fields []string) {
		if d := p.digests(fields[0]); d != nil {
			p.digest(fields[0], fields[1:], d)
		} else {
			p.declare(fields)
		}
	})
	return p.result("no current token; put one on a line of its own")
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

// FileNames returns the file names that ParseDir reads.
func FileNames() []string {
	return []string{FileCurrent, FileNext, FilePrevious, FilePreviousUntil, FileRevoked, FileRetired, FileUnrevoked}
}

// ParseDir parses the keys of a directory: token, which must be there;
// token-next; token-previous with its RFC 3339 deadline token-previous-until;
// and token-revoked, token-retired and token-unrevoked with one digest a line.
// Keys that it does not know are ignored. Errors are as those of [Parse].
func ParseDir(keys map[string][]byte, o Options) (Tokens, error) {
	o.Name = strings.TrimSuffix(o.Name, "/")
	p := parser{o: o}
	for _, word := range []string{"revoked", "retired", "unrevoked"} {
		p.key = "token-" + word
		p.lines(keys[p.key], func(fields []string) {
			if fields[0] == word { // a file's form, understood here too
				fields = fields[1:]
			}
			p.digest(word, fields, p.digests(word))
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
	return p.result("no key " + FileCurrent + "; the current token stands there")
}
