// Package content parses and edits what a source of tokens or verification keys
// declares. The source is a file of lines, a key set in a file, or the keys of a
// directory or of a Kubernetes Secret. What does not change keeps its bytes, except
// that a key set is written anew.
package content

import (
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

// Options configure the parsing of a source. The zero Options are valid, for tokens.
type Options struct {
	Kind          Kind
	Name          string // name of the source in errors
	MinTokenBytes int    // shortest token; 0 means token.DefaultMinBytes
	Algorithm     string // of keys that name none; "" means that of their type
}

func (o Options) tokens() token.Options {
	return token.Options{Name: o.Name, MinTokenBytes: o.MinTokenBytes}
}

func (o Options) keys() jwks.ParseOptions {
	return jwks.ParseOptions{Name: o.Name, Algorithm: o.Algorithm}
}

// A Content is what a source declares, by slot. A credential may be in several slots.
// To change a Content, change a copy made by [Content.Clone].
type Content struct {
	Kind     Kind
	Current  Credential
	Next     []Credential // several only in a file
	Previous []Superseded // several only in a file
	Listed   []Credential // in a file of tokens, or in a key set

	// Revoked credentials are refused for good. Retired ones, the oldest first, are refused
	// unless they are in a slot. Unrevoked ones are no longer revoked, unless they are in
	// Revoked, too.
	Revoked, Retired, Unrevoked []rotation.ID
	// Wording is the text of the IDs that are not written as hex digits.
	Wording map[rotation.ID]string

	// IsKeySet reports that the source is a key set. All its keys are listed, and none is
	// current.
	IsKeySet bool
	// NoDigests reports that the source has no place for revoked and retired keys.
	NoDigests bool
	// NoRoom says why the source has no room for a second credential, and the fix. It is ""
	// if there is room.
	NoRoom string
}

// A Superseded is a previous token or key. A zero Until means that it has no deadline.
type Superseded struct {
	Token Credential
	Until time.Time
}

// Live reports whether the token is accepted at now.
func (s Superseded) Live(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// ofTokens returns the Content that the parser of package token found.
func ofTokens(t token.Tokens) Content {
	c := Content{Revoked: t.Revoked, Retired: t.Retired, Unrevoked: t.Unrevoked}
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

// Superseded returns the declaration of v as a previous credential, and whether there
// is one.
func (c Content) Superseded(v Credential) (s Superseded, was bool) {
	i := slices.IndexFunc(c.Previous, func(s Superseded) bool { return s.Token.ID() == v.ID() })
	if i < 0 {
		return Superseded{}, false
	}
	return c.Previous[i], true
}

// Declared returns all credentials that are in a slot.
func (c Content) Declared() []Credential {
	all := slices.Concat(c.Next, c.Listed)
	if c.HasCurrent() {
		all = append(all, c.Current)
	}
	for _, s := range c.Previous {
		all = append(all, s.Token)
	}
	return all
}

// IsRevoked reports whether id is in the list of revocations.
func (c Content) IsRevoked(id rotation.ID) bool { return slices.Contains(c.Revoked, id) }

// Refuses reports whether v is revoked, by its ID or by one of its names.
func (c Content) Refuses(v Credential) bool {
	return c.IsRevoked(v.ID()) || slices.ContainsFunc(v.key.RevocableNames(), c.IsRevoked)
}

// A declaration is one thing that a source declares: a credential in a slot, or a digest.
type declaration struct {
	word     string // the slot, or the word before the digest
	id       rotation.ID
	kid, alg string // of a key
	until    int64  // deadline of a previous credential in Unix seconds; 0 if none
}

func (c Content) declarations() map[declaration]bool {
	all := map[declaration]bool{}
	for _, l := range c.lines() {
		all[l.declaration] = true
	}
	return all
}

// Equal reports whether c and d declare the same, in any order.
func (c Content) Equal(d Content) bool {
	return c.Kind == d.Kind && maps.Equal(c.declarations(), d.declarations())
}

// The words before a digest in a file of tokens.
const (
	wordRevoked   = "revoked"
	wordRetired   = "retired"
	wordUnrevoked = "unrevoked"
)

// digests returns the digests that c declares with word.
func (c Content) digests(word string) []rotation.ID {
	switch word {
	case wordRevoked:
		return c.Revoked
	case wordRetired:
		return c.Retired
	default:
		return c.Unrevoked
	}
}

// without returns the IDs of all that are not in gone.
func without(all, gone []rotation.ID) []rotation.ID {
	return slices.DeleteFunc(slices.Clone(all), func(id rotation.ID) bool { return slices.Contains(gone, id) })
}

// errReadBack reports that an edited source does not declare what it should. The check keeps
// a bug in this package from becoming an outage.
var errReadBack = errors.New("the changed source would not declare what it should; nothing was written (this is a bug in tokenagent: please report it)")

// confirm compares what was read back from an edited source with what it should declare.
func confirm(want, got Content, err error) error {
	if err == nil && !got.Equal(want) {
		err = errReadBack
	}
	return err
}

// Deadline formats a deadline as sources have it.
func Deadline(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxNames bounds how many names an error or a report lists.
const maxNames = 10

// ShortList joins names, and only counts those that would make the text too long.
func ShortList(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}
