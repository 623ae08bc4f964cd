package content

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// Options configure the parsing of a source. The zero Options are valid.
type Options struct {
	Kind          Kind     // "" means the one that the source has
	Name          string   // name of the source in reports and errors
	All           []string // names of all keys of the source, for errors
	MinTokenBytes int      // shortest token; 0 means token.DefaultMinBytes
	Algorithm     string   // of keys that name none; "" means that of their type
}

// A Source is a file, a directory or a Secret, as it was read.
type Source struct {
	Content
	Name string            // name in reports and errors
	Keys map[string][]byte // must not be modified
	File string            // name of the file in Keys; "" for a directory and a Secret

	options Options // of the kind that the source has
}

// names are the keys of one kind in a directory, by what they hold.
type names struct{ current, next, previous, until, revoked, retired, unrevoked, set string }

func (k Kind) names() names {
	if k == Keys {
		return names{jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious, jwks.KeyPreviousUntil, jwks.KeyRevoked, jwks.KeyRetired, jwks.KeyUnrevoked, jwks.KeyJWKS}
	}
	return names{token.FileCurrent, token.FileNext, token.FilePrevious, token.FilePreviousUntil, token.FileRevoked, token.FileRetired, token.FileUnrevoked, ""}
}

// Names returns the keys that agents read from a directory or a Secret, for the kind, or
// for both if it is "".
func Names(k Kind) (all []string) {
	if k != Keys {
		all = token.FileNames()
	}
	if k != Tokens {
		all = append(all, jwks.KeyNames()...)
	}
	return all
}

func hasAny(keys map[string][]byte, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, there := keys[name]
		return there
	})
}

const (
	noRoomFile = "it holds one key and has no room for a second; make a directory with the key in the file DIRECTORY/key, and give that to the agents (--key-file DIRECTORY)"
	noRoomJWK  = `it holds one JWK and has no room for a second; make a set of it, {"keys":[ before and ]} behind it`
)

// Parse parses the file of that name in keys, or if file is "", the keys of a directory or
// of a Secret. With an error it returns the revocations. See [token.Parse],
// [token.ParseDir], [jwks.Parse] and [jwks.ParseKeys].
func Parse(keys map[string][]byte, file string, o Options) (s Source, err error) {
	s = Source{Name: o.Name, Keys: keys, File: file, options: o}
	if s.Kind, err = s.kind(); err != nil {
		return s, err
	}
	s.options.Kind, s.OnePrevious = s.Kind, file == ""
	if s.Kind == Keys {
		err = parseKeys(&s)
	} else {
		err = parseTokens(&s)
	}
	if n := s.Kind.names(); err != nil && file == "" && !hasAny(keys, n.current, n.set) {
		err = fmt.Errorf("%w; %s", err, s.there())
	}
	return s, err
}

// ParseFile parses the text of a file.
func ParseFile(text []byte, o Options) (Source, error) {
	return Parse(map[string][]byte{"file": text}, "file", o)
}

// kind returns the kind of credentials to look for.
func (s Source) kind() (Kind, error) {
	has := func(k Kind) bool { n := k.names(); return hasAny(s.Keys, n.current, n.next, n.previous, n.set) }
	switch {
	case s.options.Kind != "":
		return s.options.Kind, nil
	case s.File != "" && LooksLikeKeys(s.Keys[s.File]):
		return Keys, nil
	case s.File != "":
		return Tokens, nil
	case has(Tokens) && has(Keys):
		return "", exitcode.Usage("%s has tokens and verification keys; say which with --kind tokens or --kind keys", s.Name)
	case has(Keys):
		return Keys, nil
	case has(Tokens):
		return Tokens, nil
	}
	return "", fmt.Errorf("%s: no key %s, and none of %s or %s: %s; the token must be under the first, verification keys under one of the others",
		s.Name, token.FileCurrent, jwks.KeyCurrent, jwks.KeyJWKS, s.there())
}

func (s Source) there() string {
	if len(s.options.All) == 0 {
		return "there are no keys at all"
	}
	return "the keys there are " + ShortList(s.options.All)
}

func parseTokens(s *Source) error {
	o := token.Options{Name: s.Name, MinTokenBytes: s.options.MinTokenBytes}
	var got token.Tokens
	var err error
	if s.File != "" {
		got, err = token.Parse(s.Keys[s.File], o)
	} else {
		got, err = token.ParseDir(s.Keys, o)
	}
	collect(&s.Content, got, func(d rotation.Decl[token.Token]) Credential { return Credential{text: d.Value} })
	return err
}

func parseKeys(s *Source) error {
	o, n := jwks.ParseOptions{Name: s.Name, Algorithm: s.options.Algorithm}, Keys.names()
	var got jwks.Keys
	var err error
	if s.File != "" {
		got, err = jwks.Parse(s.Keys[s.File], o)
		n.current, n.set = s.File, s.File
	} else {
		got, err = jwks.ParseKeys(s.Keys, o)
	}
	at := map[rotation.Slot]string{rotation.Current: n.current, rotation.Next: n.next, rotation.Previous: n.previous}
	collect(&s.Content, got.Content, func(d rotation.Decl[jwt.Key]) Credential { return Key(d.Value, s.Keys[at[d.Slot]]) })
	s.NoDigests = s.File != ""
	switch {
	case !hasAny(s.Keys, n.set):
	case !s.HasCurrent():
		s.IsKeySet = true
	case IsJWK(s.Keys[n.set]):
		s.NoRoom = noRoomJWK
	default:
		s.NoRoom = noRoomFile
	}
	return err
}

func collect[V any](c *Content, got rotation.Content[V], credential func(rotation.Decl[V]) Credential) {
	c.Revoked, c.Retired, c.Unrevoked = got.Revoked, got.Retired, got.Unrevoked
	for _, d := range got.Decls {
		switch v := credential(d); d.Slot {
		case rotation.Current:
			c.Current = v
		case rotation.Next:
			c.Next = append(c.Next, v)
		case rotation.Previous:
			c.Previous = append(c.Previous, Superseded{v, d.Until})
		default:
			c.Listed = append(c.Listed, v)
		}
	}
}

// A Write replaces the value of a key of a source. A nil Value removes the key.
type Write struct {
	Key   string
	Value []byte
}

// errReadBack reports that an edited source does not declare what it should. The check keeps
// a bug in this package from becoming an outage.
var errReadBack = errors.New("the changed source would not declare what it should; nothing was written (this is a bug in tokenagent: please report it)")

// Edit returns the writes that make the source declare to, in the order in which they must
// be made: first the digests, then the old token as previous, with its deadline, then the
// new one as current, and last token-next. So a reader accepts the old and the new token at
// every moment. The result has been parsed again.
func (s Source) Edit(to Content) (writes []Write, err error) {
	set := func(key, was, is string) {
		switch {
		case was == is:
		case is == "":
			writes = append(writes, Write{Key: key})
		default:
			writes = append(writes, Write{key, []byte(is)})
		}
	}
	n, file := to.Kind.names(), string(s.Keys[s.File])
	switch {
	case s.File != "" && to.IsKeySet:
		n.set = s.File
	case s.File != "" && to.Kind == Tokens:
		set(s.File, file, string(editLines([]byte(file), to)))
	case s.File == "":
		for _, d := range []struct{ word, key string }{{"unrevoked", n.unrevoked}, {"revoked", n.revoked}, {"retired", n.retired}} {
			set(d.key, string(s.Keys[d.key]), string(editDigests(s.Keys[d.key], d.word, to)))
		}
		was, is := s.values(), to.values()
		// A previous token that becomes current again is staged first. Otherwise it would be
		// in no key between the write of token-previous and that of token.
		if is.current != was.current && is.current == was.previous {
			set(n.next, was.next, is.current)
			was.next = is.current
		}
		set(n.previous, was.previous, is.previous)
		set(n.until, was.until, is.until)
		set(n.current, was.current, is.current)
		set(n.next, was.next, is.next)
	}
	if to.IsKeySet {
		text, err := s.editSet(s.Keys[n.set], to)
		if err != nil {
			return nil, err
		}
		set(n.set, string(s.Keys[n.set]), string(text))
	}
	got, err := Parse(s.After(writes), s.File, s.options)
	if err == nil && !got.Equal(to) {
		err = errReadBack
	}
	return writes, err
}

// values returns the values of the keys that hold a credential or a deadline, with "" for
// those that do not exist.
func (c Content) values() (v names) {
	v.current = c.Current.Reveal()
	for _, next := range c.Next {
		v.next = next.Reveal()
	}
	for _, p := range c.Previous {
		v.previous = p.Token.Reveal()
		if !p.Until.IsZero() {
			v.until = Deadline(p.Until)
		}
	}
	return v
}

// After returns the keys of the source after writes, in a new map.
func (s Source) After(writes []Write) map[string][]byte {
	keys := maps.Clone(s.Keys)
	for _, w := range writes {
		keys[w.Key] = w.Value
		if w.Value == nil {
			delete(keys, w.Key)
		}
	}
	return keys
}

// WhiteSpace returns a warning if there is white space around the token in keys, those of
// a Secret, and "" if not. Receivers strip it, but daprd takes the bytes into its
// environment unchanged, and a newline breaks all its calls to the app.
func WhiteSpace(keys map[string][]byte) string {
	value := keys[token.FileCurrent]
	trimmed := bytes.Trim(bytes.TrimPrefix(value, []byte(bom)), white)
	switch {
	case len(trimmed) == 0 || len(trimmed) == len(value):
		return ""
	case bytes.ContainsAny(value, "\r\n"):
		return "key " + token.FileCurrent + " has a newline beside the token; daprd sends it as part of the token, and all its calls to the app fail: write it without (printf %s, or tokenagent generate | tr -d '\\n')"
	default:
		return "key " + token.FileCurrent + " has white space beside the token, which daprd sends as part of it; write it without"
	}
}
