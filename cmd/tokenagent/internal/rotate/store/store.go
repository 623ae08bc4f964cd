// Package store reads and writes the source of a rotation: a file, a directory, or
// Kubernetes Secrets on their way from kubectl to kubectl. At every moment of a write,
// readers accept the old and the new token. Files keep their mode and owner, and what
// somebody else has changed meanwhile is not overwritten.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A Store is a file, a directory, or Secrets on standard input, as they were when [Open]
// read them.
type Store interface {
	// Sources are the file, the directory, or each Secret of a List.
	Sources() []Source
	// Prepare makes everything that save writes so that Sources()[i] declares to[i], but
	// writes nothing. It returns warnings for each source. Call it once.
	Prepare(to []content.Content) (save func(context.Context) error, warnings [][]string, err error)
}

// A Source is a file, a directory or a Secret.
type Source struct {
	Name        string // name in reports
	Content     content.Content
	OnePrevious bool // it has room for only one previous token
}

// Options say what to open.
type Options struct {
	Path           string // "" means Secrets on standard input
	Kind           string // tokens or keys; "" means what the source has
	Change         bool   // the source is to be changed
	Read           content.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Open reads the source.
func Open(ctx context.Context, o Options) (Store, error) {
	if o.Path == "" {
		return o.openSecrets(ctx)
	}
	info, err := stat(o.Path)
	if err == nil && o.Change {
		err = changeable(o.Path, info.IsDir())
	}
	if err != nil {
		return nil, err
	}
	o.Read.Name = o.Path
	if info.IsDir() {
		return o.openDir(ctx)
	}
	return o.openFile(ctx)
}

func (o Options) openFile(ctx context.Context) (Store, error) {
	p, err := readFile(ctx, o.Path)
	if err != nil {
		return nil, err
	}
	text := p.files[p.names[0]]
	if o.Kind == content.Keys.String() || o.Kind == "" && content.LooksLikeKeys(text) {
		o.Read.Kind = content.Keys
		p.content, err = content.ParseKeyFile(text, o.Read)
	} else {
		p.content, err = content.ParseLines(text, o.Read)
	}
	p.options = o.Read
	return p, err
}

func (o Options) openDir(ctx context.Context) (Store, error) {
	names := content.Names()
	switch o.Kind {
	case content.Tokens.String():
		names = token.FileNames()
	case content.Keys.String():
		names = jwks.KeyNames()
	}
	p, err := readDir(ctx, o.Path, names)
	if err != nil {
		return nil, err
	}
	p.content, err = o.parse(p.files, p.list())
	p.options = o.Read
	p.options.Kind = p.content.Kind
	return p, err
}

func (o Options) openSecrets(ctx context.Context) (Store, error) {
	if stdin.Terminal(o.Stdin) {
		return nil, exitcode.Usage("PATH is missing, and no Secret comes on standard input; give the file or directory, or pipe a Secret: " +
			"kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -")
	}
	text, err := stdin.Read(ctx, o.Stdin, o.Stderr, "the Secret", maxSecrets)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("standard input is empty; pipe the answer of kubectl get secret NAME -o json, or give a PATH")
	}
	d, err := parseSecrets(text)
	if err != nil {
		return nil, err
	}
	d.options, d.stdout = o.Read, o.Stdout
	for i, s := range d.all {
		o.Read.Name = "secret " + s.name
		if o.Change && s.immutable {
			return nil, fmt.Errorf("%s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", o.Read.Name)
		}
		c, err := o.parse(s.keys, s.names())
		switch {
		case err != nil:
			return nil, err
		case i > 0 && c.Kind != d.options.Kind:
			return nil, exitcode.Usage("some Secrets of the list have tokens and others verification keys; say which with --kind tokens or --kind keys")
		}
		d.options.Kind = c.Kind
		d.sources = append(d.sources, Source{Name: o.Read.Name, Content: c, OnePrevious: true})
	}
	return d, nil
}

// parse parses the keys of a directory or of a Secret, of the kind that they have. names
// are all keys of the source, also those that tokenagent does not read.
func (o Options) parse(keys map[string][]byte, names []string) (content.Content, error) {
	there := "there are no keys at all"
	if len(names) > 0 {
		there = "the keys there are " + content.ShortList(names)
	}
	hasTokens, hasKeys := content.Tokens.Has(keys), content.Keys.Has(keys)
	switch {
	case o.Kind == content.Tokens.String():
	case o.Kind == content.Keys.String():
		o.Read.Kind = content.Keys
	case hasTokens && hasKeys:
		return content.Content{}, exitcode.Usage("%s has tokens and verification keys; say which with --kind tokens or --kind keys", o.Read.Name)
	case hasKeys:
		o.Read.Kind = content.Keys
	case !hasTokens:
		return content.Content{}, fmt.Errorf("%s: no key %s, and none of %s or %s: %s; the token must be under the first, verification keys under one of the others",
			o.Read.Name, token.FileCurrent, jwks.KeyCurrent, jwks.KeyJWKS, there)
	}
	c, err := content.ParseKeys(keys, o.Read)
	if err != nil && !o.Read.Kind.HasCurrent(keys) {
		err = fmt.Errorf("%w; %s", err, there)
	}
	return c, err
}
