// Package store is where the source of a rotation is kept: a file, a directory, or
// Kubernetes Secrets on their way from kubectl to kubectl. It reads them, and writes
// them so that every reader accepts the old and the new token. Modes and owners stay,
// and what somebody else has changed meanwhile is not overwritten.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// maxBytes bounds what is read of a file, or of all keys of a directory, in
// bytes: what package reload takes by default.
const maxBytes = 4 << 20

const dataLink = "..data"

// ErrChanged says that somebody else changed the place between our reading and
// our writing. Nothing was written.
var ErrChanged = errors.New("somebody else changed it meanwhile; nothing was written: look at it (tokenagent rotate status) and try again")

// errBusy says that another rotation holds the lock.
var errBusy = errors.New("another rotation is at work there; nothing was written: try again when it is done")

var (
	errOwner  = errors.New("cannot keep the owner")
	errAccess = errors.New("cannot keep the access rights")
)

// A Store is a file, a directory, or Secrets on standard input, as it was when [Open]
// read it.
type Store interface {
	// Sources are what it consists of: one, or each Secret of a List.
	Sources() []Source
	// Prepare makes all that is to be written so that Sources()[i] declares to[i],
	// and writes nothing. The warnings, of each source, are about what else that
	// does and who may undo it. The error names the source.
	Prepare(to []content.Content) (save func(context.Context) error, warnings [][]string, err error)
}

// A Source is a file, a directory or a Secret.
type Source struct {
	Name        string // what reports call it
	Content     content.Content
	OnePrevious bool // it has room for one previous token alone
}

// Options say what to open.
type Options struct {
	Path           string // "" means Secrets on standard input
	Kind           string // tokens, keys, or "" for what is there
	Change         bool   // it is to be changed
	Read           content.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Open reads what o names. A source that does not parse has a Content that says so,
// where it can be changed all the same.
func Open(ctx context.Context, o Options) (Store, error) {
	if o.Path == "" {
		return o.openSecrets(ctx)
	}
	info, err := look(o.Path)
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
	f, err := readFile(ctx, o.Path)
	if err != nil {
		return nil, err
	}
	if o.Kind == content.Keys.String() || o.Kind == "" && content.LooksLikeKeys(f.text) {
		o.Read.Kind = content.Keys
		f.c, err = content.ParseKeyFile(f.text, o.Read)
	} else {
		f.c, err = content.ParseLines(f.text, o.Read)
		if err != nil && content.Foreign(f.text) == nil {
			f.c, err = content.SalvageLines(f.text, o.Read, err), nil
		}
	}
	f.o = o.Read
	return f, err
}

func (o Options) openDir(ctx context.Context) (Store, error) {
	names := content.Names()
	switch o.Kind {
	case content.Tokens.String():
		names = token.FileNames()
	case content.Keys.String():
		names = jwks.KeyNames()
	}
	d, err := readDir(ctx, o.Path, names)
	if err != nil {
		return nil, err
	}
	d.c, err = o.parse(d.keys, d.files())
	d.o = o.Read
	d.o.Kind = d.c.Kind
	return d, err
}

var errNoInput = exitcode.Usage("PATH is missing, and no Secret comes on standard input; give the file or directory, or pipe a Secret: " +
	"kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -")

func (o Options) openSecrets(ctx context.Context) (Store, error) {
	if stdin.Terminal(o.Stdin) {
		return nil, errNoInput
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
	d.o, d.stdout = o.Read, o.Stdout
	for i, s := range d.all {
		o.Read.Name = "secret " + s.name
		if o.Change && s.immutable {
			return nil, fmt.Errorf("%s is immutable, and the API server refuses any change; create a new Secret under another name and mount that one", o.Read.Name)
		}
		c, err := o.parse(s.keys, s.names())
		switch {
		case err != nil:
			return nil, err
		case i > 0 && c.Kind != d.o.Kind:
			return nil, exitcode.Usage("some Secrets of the list have tokens and others verification keys; say which with --kind tokens or --kind keys")
		}
		d.o.Kind = c.Kind
		d.sources = append(d.sources, Source{Name: o.Read.Name, Content: c, OnePrevious: true})
	}
	return d, nil
}

// parse returns what the keys of a directory or a Secret declare; names are all that
// it has, ours or not.
func (o Options) parse(keys map[string][]byte, names []string) (content.Content, error) {
	tokens, verifying := content.Tokens.Has(keys), content.Keys.Has(keys)
	switch {
	case o.Kind == content.Tokens.String():
	case o.Kind == content.Keys.String():
		o.Read.Kind = content.Keys
	case tokens && verifying:
		return content.Content{}, exitcode.Usage("%s has tokens and verification keys; say which with --kind tokens or --kind keys", o.Read.Name)
	case verifying:
		o.Read.Kind = content.Keys
	case !tokens:
		return content.Content{}, fmt.Errorf("%s: no key %s, and none of %s or %s: %s; the token must be under the first, verification keys under one of the others",
			o.Read.Name, token.FileCurrent, jwks.KeyCurrent, jwks.KeyJWKS, present(names))
	}
	c, err := content.ParseKeys(keys, o.Read)
	if err == nil {
		return c, nil
	}
	if !o.Read.Kind.HasCurrent(keys) {
		err = fmt.Errorf("%w; %s", err, present(names))
	}
	return content.SalvageKeys(keys, o.Read, err), nil
}

// present says which keys there are, by name alone.
func present(names []string) string {
	if len(names) == 0 {
		return "there are no keys at all"
	}
	return "the keys there are " + content.Some(names)
}

// look is os.Stat for a path from the command line. Its error does not repeat what
// may be a token that was put in the place of the file that holds it.
func look(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil:
		return info, nil
	case tokenLike(path):
		return nil, errors.New("the path given does not exist (it is not repeated here, since it may be a token); give a file or a directory, and a token in a file")
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; make it first, as with (umask 077; tokenagent generate > FILE)", path)
	}
	return nil, err
}

// tokenLike reports whether path, which leads nowhere, may be a token: it has 16
// bytes or more, all of them in 0x21 to 0x7E, and its beginning is no directory
// either. Base64 has slashes, too.
func tokenLike(path string) bool {
	if len(path) < 16 || strings.ContainsFunc(path, func(r rune) bool { return r < 0x21 || r > 0x7E }) {
		return false
	}
	i := strings.IndexFunc(path[1:], func(r rune) bool { return r < 0x80 && os.IsPathSeparator(byte(r)) })
	if i < 0 {
		return true
	}
	_, err := os.Lstat(path[:i+1])
	return err != nil
}

// ReadFrom reads the regular file at path, which the command line names, up to limit
// bytes and some.
func ReadFrom(ctx context.Context, path string, limit int64) ([]byte, error) {
	info, err := look(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory; give the file in it", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file but a pipe, a socket or a device; give a regular file, or - to read standard input", path)
	}
	c, err := reload.File(path).Read(ctx, limit)
	return c.Data, err
}

// changeable returns an error that says what to do instead if path, which exists, is
// not to be changed by us or not by that name.
func changeable(path string, isDir bool) error {
	root := volume(path)
	switch {
	case root == "":
		return keyOfDirectory(path, isDir)
	case kubemount.Managed(root):
		return fmt.Errorf("%s is in a volume that a kubelet keeps and would not take it from here; rotate the Secret: kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -", path)
	case !sameFile(root, path):
		return fmt.Errorf("%s is a key of a directory that is replaced as a whole; give the directory: %s", path, root)
	}
	return nil
}

// volume returns the directory laid out with ..data in which path lies, or that
// it is; "" if there is none.
func volume(path string) string {
	at := []string{path, filepath.Dir(path)}
	if end, err := filepath.EvalSymlinks(path); err == nil {
		at = append(at, end, filepath.Dir(end))
		if up := filepath.Dir(end); strings.HasPrefix(filepath.Base(up), "..") {
			at = append(at, filepath.Dir(up))
		}
	}
	for _, dir := range at {
		if info, err := os.Lstat(filepath.Join(dir, dataLink)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return dir
		}
	}
	return ""
}

// currentNames are the names of keys under which something stands that needs no
// other key beside it.
func currentNames() []string { return []string{token.FileCurrent, jwks.KeyCurrent, jwks.KeyJWKS} }

// keyOfDirectory refuses a path that is one key of several in a plain
// directory: a line for another slot would spoil it.
func keyOfDirectory(path string, isDir bool) error {
	if isDir {
		return nil
	}
	dir, base := filepath.Split(path)
	beside := token.FileNames()
	switch {
	case !slices.Contains(content.Names(), base):
		return nil
	case !slices.Contains(currentNames(), base):
		return fmt.Errorf("%s has the name of a key; give the directory that it is in", path)
	case base != token.FileCurrent:
		beside = jwks.KeyNames()
	}
	for _, key := range beside {
		if slices.Contains(currentNames(), key) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, key)); err == nil {
			return fmt.Errorf("%s is one key of a directory, which has %s as well; give the directory", path, key)
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// explain adds what to do to what the system says.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, errOwner), errors.Is(err, errAccess):
		return err
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w; if it is mounted by itself, mount its directory instead, or rotate the file on the host", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the owner of the directory", err)
	}
	return err
}
