package content

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// ParseLines reads the text of a file of tokens; see [token.Parse].
func ParseLines(text []byte, o Options) (Content, error) {
	t, err := token.Parse(text, o.tokens())
	if foreign := Foreign(text); foreign != nil {
		return Content{}, fmt.Errorf("%s: %w", o.Name, foreign)
	}
	if err != nil {
		return Content{}, err
	}
	return Of(t), nil
}

// Alone reports whether text, which parses, is one token with no more around it
// than white space: the form that other programs read whole.
func Alone(text []byte) bool {
	fields := bytes.FieldsFunc(bytes.TrimPrefix(text, []byte(bom)), isWhite)
	return len(fields) == 1
}

// EditLines returns text changed so that it declares want. Where it does not parse,
// as want says, revocations are added and nothing else is done. Comments, blank lines
// and the lines of tokens that stay are kept, in their order. The result has been
// parsed and says exactly what want does.
func EditLines(text []byte, want Content, o Options) ([]byte, error) {
	if want.Fault != nil {
		return revokeLines(text, want, o)
	}
	rest, hasBOM := bytes.CutPrefix(text, []byte(bom))
	var out, behind, last []string // lines; new tokens behind the current one; all else that is new
	if hasBOM {
		out = append(out, bom)
	}
	lines := want.lines()
	wanted, said := map[item]bool{}, map[item]bool{}
	for _, l := range lines {
		wanted[l.item] = true
	}
	eol, current := "\n", 0 // current is 1 + the place of the current token's line in out
	for raw := range strings.Lines(string(rest)) {
		fields := strings.FieldsFunc(raw, isWhite)
		it := lineItem(fields)
		switch {
		case it == item{}: // a comment
		case it.word == rotation.Listed.String() && current == 0: // the first is the current one
			if strings.HasSuffix(raw, "\r\n") {
				eol = "\r\n"
			}
			current = len(out) + 1
			raw = strings.Replace(raw, fields[0], want.Current.Reveal(), 1)
		case wanted[it]:
			said[it] = true
		default:
			continue
		}
		out = append(out, raw)
	}
	for _, l := range lines {
		if said[l.item] {
			continue
		}
		if l.word == rotation.Next.String() || l.word == rotation.Previous.String() {
			behind = append(behind, l.text+eol)
		} else {
			last = append(last, l.text+eol)
		}
	}
	out = insert(out, current, behind, eol)
	out = insert(out, len(out), last, eol)
	result := []byte(strings.Join(out, ""))
	got, err := ParseLines(result, o)
	return result, confirm(want, got, err)
}

// insert puts lines in at a place, behind a line that is ended if it was not.
func insert(out []string, at int, lines []string, eol string) []string {
	if at > 0 && len(lines) > 0 && !strings.HasSuffix(out[at-1], "\n") {
		out[at-1] += eol
	}
	return slices.Insert(out, at, lines...)
}

// lineItem returns what a line of these fields declares, where it parses, and the zero
// item for a comment. A current token is listed here.
func lineItem(fields []string) item {
	if len(fields) == 0 || fields[0][0] == '#' {
		return item{}
	}
	if _, isDigest := (Content{}).digests(fields[0]); isDigest {
		it := item{word: fields[0]}
		if len(fields) > 1 {
			digest, _ := hex.DecodeString(fields[1])
			copy(it.id[:], digest)
		}
		return it
	}
	it := item{word: rotation.Listed.String(), id: verify.Digest(fields[0])}
	if len(fields) > 1 {
		it.word = fields[1]
	}
	if len(fields) > 2 {
		until, _ := time.Parse(time.RFC3339, strings.TrimPrefix(fields[2], "until="))
		it.until = until.Unix()
	}
	return it
}

const (
	bom = "\xef\xbb\xbf"
	// white is what parts the fields of a line; see package verify.
	white = " \t\r\v\f\n"
)

func isWhite(r rune) bool { return strings.ContainsRune(white, r) }
