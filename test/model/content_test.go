package model

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	tokens "github.com/tokenagent/tokenagent/internal/token"
)

// A version is the content that the operator publishes at one moment. Times count
// from the beginning of the history.
type version struct {
	at       time.Duration
	step     string // the name of the operator's step
	current  token
	next     token
	previous []superseded
	revoked  []token // includes those of earlier versions

	retired, unrevoked []token
}

// A superseded token has the deadline that the source declares for it. 0 means that
// the source declares none.
type superseded struct {
	token token
	until time.Duration
}

// slot returns the slot in which v declares k, and the deadline. The slot is 0 if v
// does not declare k, or revokes it.
func (v *version) slot(k token) (slot rotation.Slot, until time.Duration) {
	if slices.Contains(v.revoked, k) {
		return 0, 0
	}
	switch {
	case k == v.current:
		return rotation.Current, 0
	case k == v.next:
		return rotation.Next, 0
	}
	for _, p := range v.previous {
		if p.token == k {
			return rotation.Previous, p.until
		}
	}
	return 0, 0
}

func (v *version) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: current %s", v.step, v.current)
	if v.next != none {
		fmt.Fprintf(&b, ", next %s", v.next)
	}
	for _, p := range v.previous {
		fmt.Fprintf(&b, ", previous %s", p.token)
		if p.until != 0 {
			fmt.Fprintf(&b, " until %s", p.until)
		}
	}
	for _, k := range v.revoked {
		fmt.Fprintf(&b, ", revoked %s", k)
	}
	for _, k := range v.retired {
		fmt.Fprintf(&b, ", retired %s", k)
	}
	for _, k := range v.unrevoked {
		fmt.Fprintf(&b, ", unrevoked %s", k)
	}
	return b.String()
}

// written returns v as the keys of a Secret and as a file. keys is nil if v has more
// previous tokens than a Secret has room for. All receivers run on one clock, so
// written makes each deadline earlier by skew for a receiver whose clock is ahead by
// skew: only the difference counts.
func (v *version) written(base time.Time, skew time.Duration) (keys map[string][]byte, file []byte) {
	at := func(until time.Duration) string { return base.Add(until - skew).UTC().Format(time.RFC3339) }
	var lines bytes.Buffer
	keys = map[string][]byte{tokens.FileCurrent: []byte(v.current.text())}
	fmt.Fprintf(&lines, "%s\n", v.current.text())
	if v.next != none {
		keys[tokens.FileNext] = []byte(v.next.text())
		fmt.Fprintf(&lines, "%s next\n", v.next.text())
	}
	for _, p := range v.previous {
		keys[tokens.FilePrevious] = []byte(p.token.text())
		fmt.Fprintf(&lines, "%s previous", p.token.text())
		if p.until != 0 {
			keys[tokens.FilePreviousUntil] = []byte(at(p.until))
			fmt.Fprintf(&lines, " until=%s", at(p.until))
		}
		lines.WriteByte('\n')
	}
	for _, list := range []struct {
		word, key string
		tokens    []token
	}{{"revoked", tokens.FileRevoked, v.revoked}, {"retired", tokens.FileRetired, v.retired}, {"unrevoked", tokens.FileUnrevoked, v.unrevoked}} {
		for _, k := range list.tokens {
			id := k.id()
			keys[list.key] = fmt.Appendf(keys[list.key], "%x\n", id)
			fmt.Fprintf(&lines, "%s %x\n", list.word, id)
		}
	}
	if len(v.previous) > 1 {
		keys = nil
	}
	return keys, lines.Bytes()
}

// parse reads v with the real parsers, in both formats. The results must be equal.
func (v *version) parse(base time.Time, skew time.Duration) (tokens.Tokens, error) {
	keys, file := v.written(base, skew)
	asFile, err := tokens.Parse(file, tokens.Options{})
	if err != nil || keys == nil {
		return asFile, err
	}
	asKeys, err := tokens.ParseDir(keys, tokens.Options{})
	if err != nil {
		return asKeys, err
	}
	same := func(a, b rotation.Decl[tokens.Token]) bool {
		return a.ID == b.ID && a.Slot == b.Slot && a.Until.Equal(b.Until)
	}
	if !slices.EqualFunc(asFile.Decls, asKeys.Decls, same) || !slices.Equal(asFile.Revoked, asKeys.Revoked) ||
		!slices.Equal(asFile.Retired, asKeys.Retired) || !slices.Equal(asFile.Unrevoked, asKeys.Unrevoked) {
		return asKeys, fmt.Errorf("version %q: the file and the Secret have different meanings", v.step)
	}
	return asKeys, nil
}
