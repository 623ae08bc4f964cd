package rotate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/place"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/secret"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// A target is where a rotation takes place, as it was when it was read.
type target interface {
	// Name is what errors call it.
	Name() string
	// Sources are what it consists of: one, or each Secret of a List.
	Sources() []source
	// Prepare makes all that is to be written so that Sources()[i] declares to[i],
	// and writes nothing. The warnings, of each source, are about what else that
	// does and who may undo it. The error names the source.
	Prepare(to []content.Content) (write func(context.Context) error, warnings [][]string, err error)
}

// A source is a file, a directory or a Secret.
type source struct {
	name        string // what reports call it
	content     content.Content
	onePrevious bool // it has room for one previous token alone
}

// open reads the target at path, or that on standard input where path is "". A
// content that does not parse says so, where it can be changed all the same.
func (r *run) open(ctx context.Context, path string) (target, error) {
	change := r.step != nil
	if path == "" {
		return r.openSecret(ctx, change)
	}
	isDir, err := place.IsDir(path)
	if err == nil && change {
		err = place.Changeable(path)
	}
	if err != nil {
		return nil, err
	}
	o := r.read
	o.Name = path
	if !isDir {
		f, err := place.ReadFile(ctx, path)
		if err != nil {
			return nil, err
		}
		if r.kind == content.Keys.String() || r.kind == "" && content.LooksLikeKeys(f.Text) {
			o.Kind = content.Keys
			c, err := content.ParseKeyFile(f.Text, o)
			return &file{f, c, o}, err
		}
		c, err := content.ParseLines(f.Text, o)
		if err != nil && content.Foreign(f.Text) == nil {
			c, err = content.SalvageLines(f.Text, o, err), nil
		}
		return &file{f, c, o}, err
	}
	var names []string
	switch r.kind {
	case content.Tokens.String():
		names = verify.Keys()
	case content.Keys.String():
		names = jwks.KeyNames()
	}
	d, err := place.ReadDir(ctx, path, names...)
	if err != nil {
		return nil, err
	}
	if o.Kind, err = r.kindOf(path, d.Keys, d.Names()); err != nil {
		return nil, err
	}
	return &dir{d, parseKeys(d.Keys, d.Names(), o), o}, nil
}

// parseKeys returns what keys declare. A fault says which there are where the
// current one is missing.
func parseKeys(keys map[string][]byte, names []string, o content.Options) content.Content {
	c, err := content.ParseKeys(keys, o)
	if err == nil {
		return c
	}
	if !o.Kind.HasCurrent(keys) {
		err = fmt.Errorf("%w; %s", err, present(names))
	}
	return content.SalvageKeys(keys, o, err)
}

// kindOf tells by its keys what there is to rotate in name; names are all that it
// has, ours or not.
func (r *run) kindOf(name string, keys map[string][]byte, names []string) (content.Kind, error) {
	tokens, verifying := content.Tokens.Has(keys), content.Keys.Has(keys)
	switch {
	case r.kind == content.Tokens.String():
		return content.Tokens, nil
	case r.kind == content.Keys.String():
		return content.Keys, nil
	case tokens && verifying:
		return 0, fail.Usage("%s has tokens and verification keys; say which with --kind tokens or --kind keys", name)
	case verifying:
		return content.Keys, nil
	case tokens:
		return content.Tokens, nil
	}
	return 0, fmt.Errorf("%s: no key %s, and none of %s or %s: %s; the token must be under the first, verification keys under one of the others",
		name, verify.KeyCurrent, jwks.KeyCurrent, jwks.KeyJWKS, present(names))
}

// maxNames is how many names a text lists.
const maxNames = 10

// present says which keys there are, by name alone.
func present(names []string) string {
	if len(names) == 0 {
		return "there are no keys at all"
	}
	return "the keys there are " + some(names)
}

// some lists names, and the number of those that would make the text too long.
func some(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}

type file struct {
	at *place.File
	c  content.Content
	o  content.Options
}

func (f *file) Name() string      { return f.at.Path }
func (f *file) Sources() []source { return []source{{name: f.at.Path, content: f.c}} }

func (f *file) Prepare(want []content.Content) (func(context.Context) error, [][]string, error) {
	to, text, err := want[0], f.at.Text, error(nil)
	switch {
	case to.Kind == content.Tokens:
		text, err = content.EditLines(text, to, f.o)
	case !to.Equal(f.c):
		text, err = content.EditSet(text, to, f.o)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.at.Path, err)
	}
	write := func(ctx context.Context) error { return f.at.Replace(ctx, text) }
	if to.Kind == content.Keys {
		return write, [][]string{nil}, nil
	}
	var warnings []string
	if content.Alone(f.at.Text) && !content.Alone(text) {
		warnings = append(warnings, "the file held one token alone and now holds lines; programs that read it whole as the token no longer can: give those a directory")
	}
	if n := f.at.Names(); n > 1 {
		warnings = append(warnings, fmt.Sprintf("the file has %d names (hard links), and a change is made under this one alone: the others keep the old content; make links to this name of them (ln -s)", n))
	}
	return write, [][]string{warnings}, nil
}

type dir struct {
	at *place.Dir
	c  content.Content
	o  content.Options
}

func (d *dir) Name() string { return d.at.Path }

func (d *dir) Sources() []source {
	return []source{{name: d.at.Path, content: d.c, onePrevious: true}}
}

func (d *dir) Prepare(to []content.Content) (func(context.Context) error, [][]string, error) {
	edit, err := content.EditKeys(d.at.Keys, to[0], d.o)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.at.Path, err)
	}
	var warnings []string
	if text := content.WhiteSpace(edit.Apply(d.at.Keys)); text != "" && d.at.LaidOut() { // a mounted Secret
		warnings = append(warnings, text)
	}
	return func(ctx context.Context) error { return d.at.Replace(ctx, edit) }, [][]string{warnings}, nil
}

// A filter is Secrets on their way from standard input to standard output.
type filter struct {
	doc     *secret.Document
	sources []source // one for each Secret
	o       content.Options
	stdout  io.Writer
}

var errNoInput = fail.Usage("PATH is missing, and no Secret comes on standard input; give the file or directory, or pipe a Secret: " +
	"kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -")

func (r *run) openSecret(ctx context.Context, change bool) (target, error) {
	if stdin.Terminal(r.stdin) {
		return nil, errNoInput
	}
	text, err := stdin.Read(ctx, r.stdin, r.stderr, "the Secret", secret.MaxBytes)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("standard input is empty; pipe the answer of kubectl get secret NAME -o json, or give a PATH")
	}
	doc, err := secret.Parse(text)
	if err != nil {
		return nil, err
	}
	f := &filter{doc: doc, o: r.read, stdout: r.stdout}
	for i, s := range doc.Secrets {
		name := "secret " + s.Name
		if change && s.Immutable {
			return nil, fmt.Errorf("%s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", name)
		}
		kind, err := r.kindOf(name, s.Keys(), s.Names())
		switch {
		case err != nil:
			return nil, err
		case i > 0 && kind != f.o.Kind:
			return nil, fail.Usage("some Secrets of the list have tokens and others verification keys; say which with --kind tokens or --kind keys")
		}
		f.o.Kind, f.o.Name = kind, name
		f.sources = append(f.sources, source{name: name, content: parseKeys(s.Keys(), s.Names(), f.o), onePrevious: true})
	}
	return f, nil
}

func (f *filter) Name() string {
	if f.doc.IsList {
		return fmt.Sprintf("list of %d Secrets", len(f.sources))
	}
	return f.sources[0].name
}

func (f *filter) Sources() []source { return f.sources }

func (f *filter) Prepare(to []content.Content) (func(context.Context) error, [][]string, error) {
	edits, warnings := make([]content.KeyEdit, len(to)), make([][]string, len(to))
	for i, s := range f.doc.Secrets {
		if !to[i].Equal(f.sources[i].content) {
			var err error
			if edits[i], err = content.EditKeys(s.Keys(), to[i], f.o); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", f.sources[i].name, err)
			}
		}
		warnings[i] = s.Warnings(edits[i].Apply(s.Keys()))
	}
	text, err := f.doc.With(edits)
	if err == nil {
		err = f.confirm(text, edits)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f.put(text), warnings, nil
}

// put writes the Secrets as text.
func (f *filter) put(text []byte) func(context.Context) error {
	return func(context.Context) error {
		if closed(f.stdout) {
			return errors.New("standard output is closed; nothing was changed: the Secret goes there, to | kubectl replace -f -")
		}
		if _, err := f.stdout.Write(text); err != nil {
			return fmt.Errorf("writing the Secret to standard output: %w", err)
		}
		return nil
	}
}

// confirm reads what is to be written as the API server would.
func (f *filter) confirm(text []byte, edits []content.KeyEdit) error {
	doc, err := secret.Parse(text)
	if err != nil {
		return err
	}
	for i, s := range doc.Secrets {
		if !maps.EqualFunc(s.Keys(), edits[i].Apply(f.doc.Secrets[i].Keys()), bytes.Equal) {
			return content.ErrUnfaithful
		}
	}
	return nil
}
