package content

import (
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
	Client        string   // the client whose Content is returned; "" means the unnamed client
	Name          string   // name of the source in reports and errors
	All           []string // names of all keys of the source, for errors
	MinTokenBytes int      // shortest token; 0 means token.DefaultMinBytes
	Algorithm     string   // of keys that name none; "" means that of their type
}

// A Source is a file, a directory or a Secret, as it was read.
type Source struct {
	Content                   // of one client
	Name    string            // name in reports and errors
	Keys    map[string][]byte // must not be modified
	File    string            // name of the file in Keys; "" for a directory and a Secret

	options Options            // of the kind that the source has
	clients map[string]Content // of each client that has a credential
}

const (
	noRoomFile = "it holds one key and has no room for a second; make a directory with the key in the file DIRECTORY/key, and give that to the agents (--key-file DIRECTORY)"
	noRoomJWK  = `it holds one JWK and has no room for a second; make a set of it, {"keys":[ before and ]} behind it`
)

// Parse parses the file of that name in keys, or if file is "", the keys of a directory or
// of a Secret. It is no error if the client of o has no token. With an error it returns the
// revocations. See [token.Parse], [token.ParseDir], [jwks.Parse] and [jwks.ParseKeys].
func Parse(keys map[string][]byte, file string, o Options) (s Source, err error) {
	s = Source{Name: o.Name, Keys: keys, File: file, options: o}
	if s.Kind, err = s.kind(); err != nil {
		return s, err
	}
	s.options.Kind, s.Client, s.OnePrevious = s.Kind, o.Client, file == ""
	switch {
	case s.Kind == Tokens:
		err = parseTokens(&s)
	case o.Client != "":
		return s, exitcode.Usage("%s has verification keys, which belong to no client; only tokens do", s.Name)
	default:
		err = parseKeys(&s)
	}
	if n, all := s.Kind.names(""), s.Kind.names("*"); err != nil && file == "" && !hasAny(keys, n.current, all.current, n.set) {
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
	has := func(k Kind) bool {
		n, all := k.names(""), k.names("*")
		return hasAny(s.Keys, n.current, n.next, n.previous, n.set, all.current, all.next, all.previous)
	}
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
	collect(s, got, func(d rotation.Decl[token.Token]) Credential { return Credential{text: d.Value} })
	return err
}

func parseKeys(s *Source) error {
	o, n := jwks.ParseOptions{Name: s.Name, Algorithm: s.options.Algorithm}, Keys.names("")
	var got jwks.Keys
	var err error
	if s.File != "" {
		got, err = jwks.Parse(s.Keys[s.File], o)
		n.current, n.set = s.File, s.File
	} else {
		got, err = jwks.ParseKeys(s.Keys, o)
	}
	at := map[rotation.Slot]string{rotation.Current: n.current, rotation.Next: n.next, rotation.Previous: n.previous}
	collect(s, got.Content, func(d rotation.Decl[jwt.Key]) Credential { return Key(d.Value, s.Keys[at[d.Slot]]) })
	s.NoDigests = s.File != ""
	_, hasSet := s.Keys[n.set]
	switch {
	case !hasSet:
	case !s.HasCurrent():
		s.IsKeySet = true
	case IsJWK(s.Keys[n.set]):
		s.NoRoom = noRoomJWK
	default:
		s.NoRoom = noRoomFile
	}
	return err
}

// collect puts what got declares into the contents of its clients.
func collect[V any](s *Source, got rotation.Content[V], credential func(rotation.Decl[V]) Credential) {
	s.Revoked, s.Retired, s.Unrevoked = got.Revoked, got.Retired, got.Unrevoked
	s.Owners, s.clients = map[rotation.ID]string{}, map[string]Content{}
	for _, d := range got.Decls {
		c, known := s.clients[d.Client]
		if !known {
			c = s.Content
			c.Client = d.Client
		}
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
		s.Owners[d.ID], s.clients[d.Client] = d.Client, c
	}
	if c, there := s.clients[s.Client]; there {
		s.Content = c
	}
}

// Clients returns the names of the clients that have a credential, sorted. "" is the
// unnamed client.
func (s Source) Clients() []string { return slices.Sorted(maps.Keys(s.clients)) }

// Of returns the source with the content of the client, and whether that has a credential.
func (s Source) Of(client string) (of Source, is bool) {
	c, is := s.clients[client]
	if client != s.Client { // that of s says more of keys
		s.Content, s.options.Client = c, client
	}
	return s, is
}

// A Write replaces the value of a key of a source. A nil Value removes the key.
type Write struct {
	Key   string
	Value []byte
}

// errReadBack reports that an edited source does not declare what it should. The check keeps
// a bug in this package from becoming an outage.
var errReadBack = errors.New("the changed source would not declare what it should; nothing was written (this is a bug in tokenagent: please report it)")

// Edit returns the writes that make the source declare to for its client, in the order in
// which they must be made: first the digests, then the old token as previous, with its
// deadline, then the new one as current, and last token-next. So a reader accepts the old
// and the new token at every moment. Other clients keep what they have. The result has been
// parsed again.
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
	n, file := to.Kind.names(s.Client), string(s.Keys[s.File])
	switch {
	case s.File != "" && to.IsKeySet:
		n.set = s.File
	case s.File != "" && to.Kind == Tokens:
		set(s.File, file, string(editLines([]byte(file), s.Content, to)))
	case s.File == "":
		for _, d := range []struct{ word, key string }{{"unrevoked", n.unrevoked}, {"revoked", n.revoked}, {"retired", n.retired}} {
			set(d.key, string(s.Keys[d.key]), string(editDigests(s.Keys[d.key], d.word, to)))
		}
		was, is := s.values(), to.values()
		isReturn := is.current != was.current && is.current == was.previous
		switch {
		// A previous token that becomes current again is staged first. Otherwise it would be
		// in no key between the write of token-previous and that of token. The deadline is
		// absent meanwhile, by which IsReturning tells this from a promotion.
		case isReturn:
			set(n.next, was.next, is.current)
			set(n.until, was.until, "")
			was.next, was.until = is.current, ""
		case was.previous == "":
			set(n.until, was.until, is.until)
			was.until = is.until
		}
		if is.current == "" { // a token-next without a token would be an error
			set(n.next, was.next, "")
			was.next = ""
		}
		set(n.previous, was.previous, is.previous)
		if isReturn {
			set(n.current, was.current, is.current)
			was.current = is.current
		}
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
	return writes, s.check(writes, to)
}

// check returns an error unless writes make s declare to, and leave other clients alone.
func (s Source) check(writes []Write, to Content) error {
	want := maps.Clone(s.clients)
	want[s.Client] = to
	if len(to.Declared()) == 0 {
		delete(want, s.Client)
	}
	got, err := Parse(s.After(writes), s.File, s.options)
	if len(want) == 0 && slices.Equal(got.Revoked, to.Revoked) {
		return nil // agents take only the revocations of a source without a token
	}
	sameTokens := func(a, b Content) bool { return a.withoutDigests().Equal(b.withoutDigests()) }
	if err == nil && !(got.Equal(to) && maps.EqualFunc(got.clients, want, sameTokens)) {
		err = errReadBack
	}
	return err
}

func (c Content) withoutDigests() Content {
	c.Revoked, c.Retired, c.Unrevoked = nil, nil, nil
	return c
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
