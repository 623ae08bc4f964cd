package content

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// ParseLines reads the text of a file of tokens; see [verify.Parse].
func ParseLines(text []byte, o Options) (Content, error) {
	t, err := verify.Parse(text, o.tokens())
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
// as want says, revocations are added and nothing else is done. Comments, blank lines and the lines of tokens that stay are kept, in their
// order. The result has been parsed and says exactly what want does.
func EditLines(text []byte, want Content, o Options) ([]byte, error) {
	if want.Fault != nil {
		return revokeLines(text, want, o)
	}
	e := editor{want: want, eol: "\n", digests: map[string][]rotation.ID{}}
	rest, hasBOM := bytes.CutPrefix(text, []byte(bom))
	if hasBOM {
		e.out = append(e.out, bom)
	}
	for raw := range bytes.Lines(rest) {
		e.line(string(raw))
	}
	e.fill()
	out := []byte(strings.Join(e.out, ""))
	got, err := ParseLines(out, o)
	return out, confirm(want, got, err)
}

const (
	bom = "\xef\xbb\xbf"
	// white is what parts the fields of a line; see package verify.
	white = " \t\r\v\f\n"
)

func isWhite(r rune) bool { return strings.ContainsRune(white, r) }

// An editor goes through the lines once, keeping those that say what is wanted.
type editor struct {
	want    Content
	out     []string
	eol     string // of the current token's line
	current int    // 1 + the place of the current token's line in out; 0 before it
	next    []rotation.ID
	prev    []superseded
	listed  []rotation.ID
	// The digests that lines say of credentials, by the word of the line.
	digests map[string][]rotation.ID
}

// digests returns what the lines of a file that begin with word are to say, and
// whether there are such lines.
func (c Content) digests(word string) (ids []rotation.ID, ok bool) {
	switch word {
	case wordRevoked:
		return c.Revoked, true
	case wordRetired:
		return c.Retired, true
	case wordUnrevoked:
		return c.Unrevoked, true
	}
	return nil, false
}

// The words that begin a line with a digest; see [verify.Parse].
const (
	wordRevoked   = "revoked"
	wordRetired   = "retired"
	wordUnrevoked = "unrevoked"
)

func (e *editor) line(raw string) {
	fields := strings.FieldsFunc(raw, isWhite)
	if len(fields) == 0 || fields[0][0] == '#' {
		e.out = append(e.out, raw)
		return
	}
	wanted, isDigest := e.want.digests(fields[0])
	switch {
	case isDigest:
		var id rotation.ID
		_, _ = hex.Decode(id[:], []byte(fields[1])) // it has been parsed
		seen := e.digests[fields[0]]
		e.keep(raw, &seen, id, slices.Contains(wanted, id))
		e.digests[fields[0]] = seen
	case len(fields) > 1 && fields[1] == rotation.Next.String():
		id := verify.Digest(fields[0])
		e.keep(raw, &e.next, id, has(e.want.Next, id))
	case len(fields) > 1 && fields[1] == rotation.Previous.String():
		e.previous(raw, fields)
	case e.current == 0:
		if strings.HasSuffix(raw, "\r\n") {
			e.eol = "\r\n"
		}
		if token := e.want.Current.Reveal(); token != fields[0] {
			raw = strings.Replace(raw, fields[0], token, 1)
		}
		e.out = append(e.out, raw)
		e.current = len(e.out)
	default:
		id := verify.Digest(fields[0])
		e.keep(raw, &e.listed, id, has(e.want.Listed, id))
	}
}

// keep keeps a line that is wanted.
func (e *editor) keep(raw string, seen *[]rotation.ID, id rotation.ID, wanted bool) {
	if wanted {
		e.out = append(e.out, raw)
		*seen = append(*seen, id)
	}
}

func (e *editor) previous(raw string, fields []string) {
	s := Superseded{Token: Token(fields[0])}
	if len(fields) > 2 {
		s.Until, _ = time.Parse(time.RFC3339, strings.TrimPrefix(fields[2], "until=")) // it has been parsed
	}
	if slices.ContainsFunc(e.want.Previous, func(w Superseded) bool { return w.key() == s.key() }) {
		e.out = append(e.out, raw)
		e.prev = append(e.prev, s.key())
	}
}

// fill puts in what no line said: tokens behind the current one, digests at the
// end.
func (e *editor) fill() {
	var behind, last []string
	for _, t := range e.want.Next {
		if !slices.Contains(e.next, t.ID()) {
			behind = append(behind, t.Reveal()+" next"+e.eol)
		}
	}
	for _, s := range e.want.Previous {
		if slices.Contains(e.prev, s.key()) {
			continue
		}
		text := s.Token.Reveal() + " previous"
		if !s.Until.IsZero() {
			text += " until=" + Deadline(s.Until)
		}
		behind = append(behind, text+e.eol)
	}
	for _, t := range e.want.Listed {
		if !slices.Contains(e.listed, t.ID()) {
			last = append(last, t.Reveal()+e.eol)
		}
	}
	for _, word := range []string{wordRevoked, wordRetired, wordUnrevoked} {
		ids, _ := e.want.digests(word)
		for _, id := range ids {
			if !slices.Contains(e.digests[word], id) {
				last = append(last, word+" "+hex.EncodeToString(id[:])+e.eol)
			}
		}
	}
	e.insert(e.current, behind)
	e.insert(len(e.out), last)
}

// insert puts lines in at a place, behind a line that is ended if it was not.
func (e *editor) insert(at int, lines []string) {
	if len(lines) == 0 {
		return
	}
	if at > 0 && !strings.HasSuffix(e.out[at-1], "\n") {
		e.out[at-1] += e.eol
	}
	e.out = slices.Insert(e.out, at, lines...)
}
