// Package content is what a source of tokens or of verification keys declares,
// and how a change of that is written back: into the lines of a file, into a key
// set, or into the keys of a directory or a Kubernetes Secret. Everything that is
// not changed keeps its bytes.
package content

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// Options say how a source is read. The zero value is good, for tokens.
type Options struct {
	Kind          Kind
	Name          string // what errors call the source
	MinTokenBytes int    // shortest token; 0 means verify.DefaultMinTokenBytes
	Algorithm     string // of keys that name none; "" means that of their kind
}

func (o Options) tokens() token.Options {
	return token.Options{Name: o.Name, MinTokenBytes: o.MinTokenBytes}
}

func (o Options) keys() jwks.ParseOptions {
	return jwks.ParseOptions{Name: o.Name, Algorithm: o.Algorithm}
}

// A Content is what a source declares, by slot. A credential may stand in
// several slots. It is a value: change a copy made by [Content.Clone].
type Content struct {
	Kind     Kind
	Current  Credential
	Next     []Credential // more than one in a file alone
	Previous []Superseded // more than one in a file alone
	Listed   []Credential // in a file of tokens, or in a key set
	// What agents are told of credentials by their digests: refused for good; not
	// accepted any more and not to be remembered, the oldest first; and no longer
	// revoked, unless it is in Revoked too.
	Revoked, Retired, Unrevoked []rotation.ID
	// Wording is how digests are written that are not, as most are, hex digits.
	Wording map[rotation.ID]string

	// Set tells that this is a set of keys, of which none is current: all of them
	// are listed.
	Set bool
	// Bare tells that there is no place for revocations.
	Bare bool
	// Fault says why the source does not parse. Then no more is known of it than its
	// revocations and, where that is certain, the current credential; and all that
	// can be changed is what else it revokes.
	Fault error
	// Fixed says why there is no room for a rotation, with the mend; "" if there is.
	Fixed string
}

// A Superseded is a previous token or key. A zero Until means that it has no
// deadline.
type Superseded struct {
	Token Credential
	Until time.Time
}

// Live reports whether the token is accepted at now.
func (s Superseded) Live(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// Of sorts what package verify has parsed.
func Of(t token.Tokens) Content {
	c := Content{Revoked: slices.Clone(t.Revoked), Retired: slices.Clone(t.Retired), Unrevoked: slices.Clone(t.Unrevoked)}
	for _, d := range t.Decls {
		put(&c, Credential{text: d.Value}, d.Slot, d.Until)
	}
	return c
}

func put(c *Content, v Credential, slot rotation.Slot, until time.Time) {
	switch slot {
	case rotation.Current:
		c.Current = v
	case rotation.Next:
		c.Next = append(c.Next, v)
	case rotation.Previous:
		c.Previous = append(c.Previous, Superseded{v, until})
	default:
		c.Listed = append(c.Listed, v)
	}
}

// HasCurrent reports whether a current credential is known.
func (c Content) HasCurrent() bool { return c.Current != Credential{} }

// Clone returns a copy that shares no slice with c.
func (c Content) Clone() Content {
	c.Next, c.Previous = slices.Clone(c.Next), slices.Clone(c.Previous)
	c.Listed, c.Revoked = slices.Clone(c.Listed), slices.Clone(c.Revoked)
	c.Retired, c.Unrevoked = slices.Clone(c.Retired), slices.Clone(c.Unrevoked)
	c.Wording = maps.Clone(c.Wording)
	return c
}

// Superseded returns what is declared of v as a previous one, and whether it is.
func (c Content) Superseded(v Credential) (s Superseded, was bool) {
	i := slices.IndexFunc(c.Previous, func(s Superseded) bool { return s.Token.ID() == v.ID() })
	if i < 0 {
		return Superseded{}, false
	}
	return c.Previous[i], true
}

// Declared returns all credentials that are in a slot.
func (c Content) Declared() (all []Credential) {
	if !c.Set {
		all = append(all, c.Current)
	}
	all = slices.Concat(all, c.Next, c.Listed)
	for _, s := range c.Previous {
		all = append(all, s.Token)
	}
	return all
}

// IsRevoked reports whether id is in the list of revocations.
func (c Content) IsRevoked(id rotation.ID) bool { return slices.Contains(c.Revoked, id) }

// Refuses reports whether v is revoked, be it by one of its names.
func (c Content) Refuses(v Credential) bool {
	return c.IsRevoked(v.ID()) || slices.ContainsFunc(v.key.RevocableNames(), c.IsRevoked)
}

// An item is one thing that a source declares: a credential in a slot, or a digest.
type item struct {
	word     string // the slot, or what begins a line with the digest
	id       rotation.ID
	kid, alg string // of a key
	until    int64  // of a previous one, in seconds; 0 for none
}

// A line is an item and how a file of tokens says it.
type line struct {
	item
	text string
}

// The words that begin a line with a digest; see [token.Parse].
const (
	wordRevoked   = "revoked"
	wordRetired   = "retired"
	wordUnrevoked = "unrevoked"
)

func (c Credential) in(slot rotation.Slot, until int64) item {
	return item{slot.String(), c.ID(), c.key.KeyID(), c.key.Algorithm(), until}
}

func (s Superseded) item() item {
	if s.Until.IsZero() {
		return s.Token.in(rotation.Previous, 0)
	}
	return s.Token.in(rotation.Previous, s.Until.Unix())
}

// lines returns what c declares besides the current credential, in the order in which
// it is written.
func (c Content) lines() (out []line) {
	for _, t := range c.Next {
		out = append(out, line{t.in(rotation.Next, 0), t.Reveal() + " next"})
	}
	for _, s := range c.Previous {
		text := s.Token.Reveal() + " previous"
		if !s.Until.IsZero() {
			text += " until=" + Deadline(s.Until)
		}
		out = append(out, line{s.item(), text})
	}
	for _, t := range c.Listed {
		out = append(out, line{t.in(rotation.Listed, 0), t.Reveal()})
	}
	for _, word := range []string{wordRevoked, wordRetired, wordUnrevoked} {
		ids, _ := c.digests(word)
		for _, id := range ids {
			out = append(out, line{item{word: word, id: id}, word + " " + hex.EncodeToString(id[:])})
		}
	}
	return out
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

// Equal reports whether both declare the same. Order matters to no reader, and
// not here either.
func (c Content) Equal(d Content) bool {
	set := func(c Content) map[item]bool {
		m := map[item]bool{c.Current.in(rotation.Current, 0): true}
		for _, l := range c.lines() {
			m[l.item] = true
		}
		return m
	}
	return c.Kind == d.Kind && maps.Equal(set(c), set(d))
}

// has reports whether the token id is among tokens.
func has(tokens []Credential, id rotation.ID) bool {
	return slices.ContainsFunc(tokens, func(t Credential) bool { return t.ID() == id })
}

// ErrUnfaithful says that a change, read back, says something else than what
// was meant. It keeps a fault of ours from becoming an outage.
var ErrUnfaithful = errors.New("the change would not read back as it was meant; nothing was written (this is a fault of tokenagent: please report it)")

// confirm holds what was read back to what was meant.
func confirm(want, got Content, err error) error {
	if err != nil {
		return err
	}
	if !got.Equal(want) {
		return ErrUnfaithful
	}
	return nil
}

// Deadline renders a deadline as sources have it.
func Deadline(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxNames is how many names a text lists.
const maxNames = 10

// Some lists names, and the number of those that would make the text too long.
func Some(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}
