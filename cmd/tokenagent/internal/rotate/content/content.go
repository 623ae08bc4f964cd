// Package content parses and edits what a source of tokens or verification keys
// declares. The source is a file of lines, a key set in a file, or the keys of a
// directory or of a Kubernetes Secret. What does not change keeps its bytes, except
// that a key set is written anew.
package content

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Kind is what a source declares, as flags and reports call it: shared tokens, or keys
// that verify signed tokens.
type Kind string

// The kinds.
const (
	Tokens Kind = "tokens"
	Keys   Kind = "keys"
)

// Noun returns the word for one credential of the kind.
func (k Kind) Noun() string { return strings.TrimSuffix(string(k), "s") }

// A Credential is a token or a verification key. Every verb formats it as its fingerprint.
// The zero Credential is neither.
type Credential struct {
	text token.Token // the token, or the text of the key, which may be a secret
	key  jwt.Key     // the zero Key for a token
}

// Token returns the Credential that is the token text.
func Token(text string) Credential { return Credential{text: token.New(text)} }

// Key returns the Credential that is the key k with its text. For a key that a set has
// already, text does not matter.
func Key(k jwt.Key, text []byte) Credential {
	return Credential{text: token.New(string(text)), key: k}
}

func (c Credential) isKey() bool { return c.key != jwt.Key{} }

// ID returns what revokes the credential: the SHA-256 of a token, or the RFC 7638
// thumbprint of a key.
func (c Credential) ID() rotation.ID {
	if c.isKey() {
		return c.key.ID()
	}
	return c.text.ID()
}

// Fingerprint returns the first 8 hex digits of ID.
func (c Credential) Fingerprint() string { return verify.Fingerprint(c.ID()) }

// Key returns the key, and the zero Key for a token.
func (c Credential) Key() jwt.Key { return c.key }

// KeyIDs returns the kids of a key, each once.
func (c Credential) KeyIDs() (kids []string) {
	for _, k := range c.key.Names() {
		if kid := k.KeyID(); kid != "" && !slices.Contains(kids, kid) {
			kids = append(kids, kid)
		}
	}
	return kids
}

// Reveal returns the token, or the text of the key.
func (c Credential) Reveal() string { return c.text.Reveal() }

// String returns the fingerprint, and for a key also its algorithm.
func (c Credential) String() string {
	if c.isKey() {
		return c.key.String()
	}
	return c.text.String()
}

// Format writes String for every verb and flag.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// A Content is what a source declares for one client, by slot. A credential may be in
// several slots. To change a Content, change a copy made by [Content.Clone].
type Content struct {
	Kind     Kind
	Client   string // "" is the unnamed client, and the one of verification keys
	Current  Credential
	Next     []Credential // several only in a file
	Previous []Superseded // several only in a file
	Listed   []Credential // in a file of tokens, or in a key set

	// Digests are those of all clients. Revoked credentials are refused for good. Retired
	// ones, the oldest first, are refused unless they are in a slot. Unrevoked ones are no
	// longer revoked, unless they are in Revoked, too.
	Revoked, Retired, Unrevoked []rotation.ID
	// Wording is the text of the IDs that are not written as hex digits.
	Wording map[rotation.ID]string
	// Owners maps each credential in the source to its client, including those of other
	// clients. It must not be modified.
	Owners map[rotation.ID]string

	// IsKeySet reports that the source is a key set. All its keys are listed, and none is
	// current.
	IsKeySet bool
	// OnePrevious reports that the source has room for only one previous credential.
	OnePrevious bool
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

// IsTakenBack reports whether id is previous and retired: the rotation to it was taken back.
// Receivers accept it until its deadline, because a slot counts more than a retirement.
func (c Content) IsTakenBack(id rotation.ID) bool {
	is := func(v Credential) bool { return v.ID() == id }
	isPrevious := slices.ContainsFunc(c.Previous, func(s Superseded) bool { return is(s.Token) })
	_, other := c.OtherOwner(id)
	return isPrevious && !other && slices.Contains(c.Retired, id) && !is(c.Current) && !slices.ContainsFunc(c.Next, is) && !slices.ContainsFunc(c.Listed, is)
}

// IsReturning reports whether c is what [Source.Edit] leaves in a directory if it is cut short
// while the previous credential becomes current again. That is in Next then. What is current
// may be in use as well.
func (c Content) IsReturning() bool {
	if len(c.Next) != 1 || len(c.Previous) != 1 {
		return false
	}
	current, next, previous := c.Current.ID(), c.Next[0].ID(), c.Previous[0].Token.ID()
	if c.Previous[0].Until.IsZero() && (next == current) != (previous == current) {
		return true
	}
	return next == previous && next != current
}

// In returns the credentials that are in the slot.
func (c Content) In(slot rotation.Slot) (in []Credential) {
	for _, l := range c.lines() {
		if l.word == slot.String() {
			in = append(in, l.credential)
		}
	}
	return in
}

// Declared returns all credentials that are in a slot.
func (c Content) Declared() (all []Credential) {
	if c.HasCurrent() {
		all = append(all, c.Current)
	}
	all = append(all, c.Next...)
	for _, s := range c.Previous {
		all = append(all, s.Token)
	}
	return append(all, c.Listed...)
}

// OtherOwner returns the client that has the credential, if it is another one than that of c.
func (c Content) OtherOwner(id rotation.ID) (client string, is bool) {
	client, is = c.Owners[id]
	return client, is && client != c.Client
}

// IsDeclared reports whether the credential is in a slot of c or of another client.
func (c Content) IsDeclared(id rotation.ID) bool {
	_, other := c.OtherOwner(id)
	return other || slices.ContainsFunc(c.Declared(), func(v Credential) bool { return v.ID() == id })
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

// A line is a declaration, and how a file of tokens has it; see [token.Parse].
type line struct {
	declaration
	credential Credential // the zero Credential for a digest
	text       string
}

// lines returns what c declares, in the order in which a file has it.
func (c Content) lines() (out []line) {
	add := func(v Credential, slot rotation.Slot, until time.Time) {
		l := line{declaration{slot.String(), v.ID(), v.key.KeyID(), v.key.Algorithm(), 0}, v, v.Reveal()}
		if slot == rotation.Next || slot == rotation.Previous {
			l.text += " " + l.word
		}
		if !until.IsZero() {
			l.until = until.Unix()
			l.text += " until=" + Deadline(until)
		}
		if c.Client != "" {
			l.text += " name=" + c.Client
		}
		out = append(out, l)
	}
	if c.HasCurrent() {
		add(c.Current, rotation.Current, time.Time{})
	}
	for _, v := range c.Next {
		add(v, rotation.Next, time.Time{})
	}
	for _, s := range c.Previous {
		add(s.Token, rotation.Previous, s.Until)
	}
	for _, v := range c.Listed {
		add(v, rotation.Listed, time.Time{})
	}
	for _, word := range []string{"revoked", "retired", "unrevoked"} {
		for _, id := range c.digests(word) {
			out = append(out, line{declaration: declaration{word: word, id: id}, text: word + " " + c.digestText(id)})
		}
	}
	return out
}

// Equal reports whether c and d declare the same, in any order. It does not compare the
// names of their clients.
func (c Content) Equal(d Content) bool {
	all := func(c Content) map[declaration]bool {
		all := map[declaration]bool{}
		for _, l := range c.lines() {
			all[l.declaration] = true
		}
		return all
	}
	return c.Kind == d.Kind && maps.Equal(all(c), all(d))
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
