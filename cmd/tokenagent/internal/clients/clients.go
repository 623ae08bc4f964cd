// Package clients groups the tokens of a source by client, for people.
package clients

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// Month is the time without a use after which a client is Unused.
const Month = 30 * 24 * time.Hour

// A Need is a reason for an operator to look at a client. A more urgent Need is smaller.
type Need int

// The needs of a client.
const (
	InUse  Need = iota // a superseded token is still in use
	Staged             // a token is staged
	Unused             // no token was used for a month
	None
)

// A Client is a client of a source, and its accepted tokens.
type Client struct {
	Name   string // "" for the unnamed client
	Need   Need
	Tokens []agent.TokenStatus
}

// Group groups tokens by client. It sorts the clients by Need, then by name.
func Group(tokens []agent.TokenStatus, now time.Time) []Client {
	tokens = slices.Clone(tokens)
	slices.SortStableFunc(tokens, func(a, b agent.TokenStatus) int { return cmp.Compare(a.Client, b.Client) })
	var all []Client
	for len(tokens) > 0 {
		n := slices.IndexFunc(tokens, func(t agent.TokenStatus) bool { return t.Client != tokens[0].Client })
		if n < 0 {
			n = len(tokens)
		}
		all = append(all, Client{Name: tokens[0].Client, Need: needOf(tokens[:n], now), Tokens: tokens[:n]})
		tokens = tokens[n:]
	}
	slices.SortStableFunc(all, func(a, b Client) int { return cmp.Compare(a.Need, b.Need) })
	return all
}

// needOf returns the need of the client of tokens.
func needOf(tokens []agent.TokenStatus, now time.Time) Need {
	need := None
	var used, since time.Time
	for _, t := range tokens {
		if t.LastUsed.After(used) {
			used = t.LastUsed
		}
		if t.Since.After(since) {
			since = t.Since
		}
		switch {
		case t.Slot == "previous" && !t.LastUsed.IsZero() && t.LastUsed.After(t.Since):
			return InUse
		case t.Slot == "next":
			need = Staged
		}
	}
	if used.IsZero() { // this agent has seen no use
		used = since
	}
	// The uses of the unnamed client are not counted.
	if need == None && tokens[0].Client != "" && !used.IsZero() && now.Sub(used) >= Month {
		return Unused
	}
	return need
}

// Summary returns the number of named clients and the number of clients with each Need. It
// returns "" if no client has a name.
func Summary(all []Client) string {
	named := 0
	var needs [None + 1]int
	for _, c := range all {
		if c.Name != "" {
			named++
			needs[c.Need]++
		}
	}
	if named == 0 {
		return ""
	}
	parts := []string{Count(named, "named client")}
	for need, text := range []string{InUse: "with an old token in use", Staged: "with a staged token", Unused: "unused for a month"} {
		if needs[need] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", needs[need], text))
		}
	}
	return strings.Join(parts, ", ")
}

// Count returns n and the noun, which gets an s unless n is 1.
func Count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
