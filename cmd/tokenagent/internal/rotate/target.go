package rotate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/place"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/secret"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// A target is where a rotation takes place, as it was when it was read.
type target interface {
	// Name is what reports call it.
	Name() string
	// Content is what it declares.
	Content() content.Content
	// OnePrevious tells that it has room for one previous token alone.
	OnePrevious() bool
	// Prepare makes all that is to be written so that the target declares to,
	// and writes nothing. The warnings are about what else that does.
	Prepare(to content.Content) (write func(context.Context) error, warnings []string, err error)
}

// open reads the target at path, or that on standard input where path is "". One
// of which the content does not parse is returned beside the error.
func (r *run) open(ctx context.Context, path string) (target, error) {
	change := r.step != nil
	if path == "" {
		return r.openSecret(change)
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
	if o.Kind, err = r.kindOf(path, d.Keys); err != nil {
		return nil, err
	}
	c, err := content.ParseKeys(d.Keys, o)
	return &dir{d, c, o}, err
}

// kindOf tells by its keys what there is to rotate in name.
func (r *run) kindOf(name string, keys map[string][]byte) (content.Kind, error) {
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
	return 0, fmt.Errorf("%s: no key %s, and none of %s or %s; a token stands in the first, verification keys in the others",
		name, verify.KeyCurrent, jwks.KeyCurrent, jwks.KeyJWKS)
}

type file struct {
	at *place.File
	c  content.Content
	o  content.Options
}

func (f *file) Name() string             { return f.at.Path }
func (f *file) Content() content.Content { return f.c }
func (f *file) OnePrevious() bool        { return false }

func (f *file) Prepare(to content.Content) (func(context.Context) error, []string, error) {
	if to.Kind == content.Keys {
		text, err := f.at.Text, error(nil)
		if !to.Equal(f.c) {
			text, err = content.EditSet(text, to, f.o)
		}
		return func(ctx context.Context) error { return f.at.Replace(ctx, text) }, nil, err
	}
	text, err := content.EditLines(f.at.Text, to, f.o)
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	if content.Alone(f.at.Text) && !content.Alone(text) {
		warnings = append(warnings, "the file held one token alone and now holds lines; programs that read it whole as the token no longer can: give those a directory")
	}
	if n := f.at.Names(); n > 1 {
		warnings = append(warnings, fmt.Sprintf("the file has %d names (hard links), and a change is made under this one alone: the others keep the old content; make links to this name of them (ln -s)", n))
	}
	return func(ctx context.Context) error { return f.at.Replace(ctx, text) }, warnings, nil
}

type dir struct {
	at *place.Dir
	c  content.Content
	o  content.Options
}

func (d *dir) Name() string             { return d.at.Path }
func (d *dir) Content() content.Content { return d.c }
func (d *dir) OnePrevious() bool        { return true }

func (d *dir) Prepare(to content.Content) (func(context.Context) error, []string, error) {
	edit, err := content.EditKeys(d.at.Keys, to, d.o)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error { return d.at.Replace(ctx, edit) }, nil, nil
}

// A filter is a Secret on its way from standard input to standard output.
type filter struct {
	at     *secret.Secret
	c      content.Content
	o      content.Options
	stdout io.Writer
}

var errNoInput = fail.Usage("PATH is missing, and no Secret comes on standard input; give the file or directory, or pipe a Secret: " +
	"kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -")

func (r *run) openSecret(change bool) (target, error) {
	if f, ok := r.stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return nil, errNoInput
		}
	}
	text, err := io.ReadAll(io.LimitReader(r.stdin, secret.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the Secret from standard input: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("standard input is empty; pipe the answer of kubectl get secret NAME -o json, or give a PATH")
	}
	s, err := secret.Parse(text)
	if err != nil {
		return nil, err
	}
	if change && s.Immutable {
		return nil, fmt.Errorf("secret %s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", s.Name)
	}
	o := r.read
	o.Name = "secret " + s.Name
	if o.Kind, err = r.kindOf(o.Name, s.Keys()); err != nil {
		return nil, err
	}
	c, err := content.ParseKeys(s.Keys(), o)
	return &filter{s, c, o, r.stdout}, err
}

func (f *filter) Name() string             { return f.o.Name }
func (f *filter) Content() content.Content { return f.c }
func (f *filter) OnePrevious() bool        { return true }

func (f *filter) Prepare(to content.Content) (func(context.Context) error, []string, error) {
	text := f.at.Text()
	keys := f.at.Keys()
	if !to.Equal(f.c) {
		edit, err := content.EditKeys(keys, to, f.o)
		if err != nil {
			return nil, nil, err
		}
		text, keys = f.at.With(edit), edit.Apply(keys)
		if err := f.confirm(text, to); err != nil {
			return nil, nil, err
		}
	}
	return f.put(text), f.at.Warnings(keys), nil
}

// put writes the Secret as text.
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
func (f *filter) confirm(text []byte, want content.Content) error {
	s, err := secret.Parse(text)
	if err != nil {
		return err
	}
	c, err := content.ParseKeys(s.Keys(), f.o)
	if err != nil {
		return err
	}
	if !c.Equal(want) {
		return content.ErrUnfaithful
	}
	return nil
}
