// Package content is what a token source declares, and how a change of that is
// written back: into the lines of a file, or into the keys of a directory or a
// Kubernetes Secret. Everything that is not changed keeps its bytes.
package content

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Content is what a source declares, by slot. A token may stand in several
// slots. It is a value: change a copy made by [Content.Clone].
type Content struct {
	Current  verify.Token
	Next     []verify.Token // more than one in a file alone
	Previous []Superseded   // more than one in a file alone
	Listed   []verify.Token // in a file alone
	Revoked  []rotation.ID
}

// A Superseded is a previous token. A zero Until means that it has no deadline.
type Superseded struct {
	Token verify.Token
	Until time.Time
}

// Live reports whether the token is accepted at now.
func (s Superseded) Live(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// Of sorts what package verify has parsed.
func Of(t verify.Tokens) Content {
	c := Content{Revoked: slices.Clone(t.Revoked)}
	for _, d := range t.Decls {
		switch d.Slot {
		case rotation.Current:
			c.Current = d.Value
		case rotation.Next:
			c.Next = append(c.Next, d.Value)
		case rotation.Previous:
			c.Previous = append(c.Previous, Superseded{d.Value, d.Until})
		default:
			c.Listed = append(c.Listed, d.Value)
		}
	}
	return c
}

// Clone returns a copy that shares no slice with c.
func (c Content) Clone() Content {
	c.Next, c.Previous = slices.Clone(c.Next), slices.Clone(c.Previous)
	c.Listed, c.Revoked = slices.Clone(c.Listed), slices.Clone(c.Revoked)
	return c
}

// IsRevoked reports whether the token id is revoked.
func (c Content) IsRevoked(id rotation.ID) bool { return slices.Contains(c.Revoked, id) }

// Equal reports whether both declare the same. Order matters to no reader, and
// not here either.
func (c Content) Equal(d Content) bool {
	return c.Current.ID() == d.Current.ID() &&
		sameSet(c.Next, d.Next, verify.Token.ID) && sameSet(c.Listed, d.Listed, verify.Token.ID) &&
		sameSet(c.Revoked, d.Revoked, func(id rotation.ID) rotation.ID { return id }) &&
		sameSet(c.Previous, d.Previous, Superseded.key)
}

type superseded struct {
	id    rotation.ID
	until int64
}

func (s Superseded) key() superseded {
	if s.Until.IsZero() {
		return superseded{id: s.Token.ID()}
	}
	return superseded{s.Token.ID(), s.Until.Unix()}
}

func sameSet[T any, K comparable](a, b []T, key func(T) K) bool {
	m := make(map[K]bool, len(a))
	for _, x := range a {
		m[key(x)] = false
	}
	for _, x := range b {
		if _, ok := m[key(x)]; !ok {
			return false
		}
		m[key(x)] = true
	}
	for _, both := range m {
		if !both {
			return false
		}
	}
	return true
}

// has reports whether the token id is among tokens.
func has(tokens []verify.Token, id rotation.ID) bool {
	return slices.ContainsFunc(tokens, func(t verify.Token) bool { return t.ID() == id })
}

// ErrUnfaithful says that a change, read back, says something else than what
// was meant. It keeps a fault of ours from becoming an outage.
var ErrUnfaithful = errors.New("the change would not read back as it was meant; nothing was written (this is a fault of tokenagent: please report it)")

// confirm parses what is to be written.
func confirm(want Content, t verify.Tokens, err error) error {
	if err != nil {
		return err
	}
	if !Of(t).Equal(want) {
		return ErrUnfaithful
	}
	return nil
}

// Deadline renders a deadline as sources have it.
func Deadline(t time.Time) string { return t.UTC().Format(time.RFC3339) }
