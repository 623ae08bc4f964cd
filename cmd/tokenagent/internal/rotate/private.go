package rotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/mint"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A privateFile is the one place where a private key that was made goes to.
type privateFile struct {
	path string
	text verify.Token // the private key as PEM
}

// outside refuses a path in source, where that is a directory.
func (p *privateFile) outside(source string) error {
	src, err := os.Stat(source)
	if err != nil || !src.IsDir() {
		return nil //nolint:nilerr // what is wrong with the source is told by who reads it
	}
	at, err := filepath.Abs(p.path)
	if err != nil {
		return err
	}
	for up := filepath.Dir(at); up != at; at, up = up, filepath.Dir(up) {
		if info, err := os.Stat(up); err == nil && os.SameFile(info, src) {
			return fail.Usage("--private-out must not lie in %s, which receivers read; name a file that the signer alone reads", source)
		}
	}
	return nil
}

// exists reports whether something stands at the path already.
func (p *privateFile) exists() bool {
	_, err := os.Lstat(p.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// used finds the credential in one of all whose private half stands in the file already: a
// step that is repeated finds the key that it made.
func (p *privateFile) used(ctx context.Context, all []content.Content) (content.Credential, error) {
	again := fmt.Errorf("--private-out: %s exists and is not overwritten; name another file, or stage the key that is in there: openssl pkey -in FILE -pubout, and --from", p.path)
	text, err := reload.File(p.path).Read(ctx, maxToken)
	if err != nil {
		return content.Credential{}, again
	}
	for _, c := range all {
		for _, v := range slices.Concat([]content.Credential{c.Current}, c.Next, c.Listed) {
			k, err := mint.PublicHalf(text.Data, v.Key().Algorithm())
			if err == nil && k.ID() == v.ID() {
				return v, nil
			}
		}
	}
	return content.Credential{}, again
}

// create writes the file, which must not exist, for its owner alone.
func (p *privateFile) create() error {
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--private-out: %w", err)
	}
	_, err = f.WriteString(p.text.Reveal())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(fmt.Errorf("--private-out: %w", err), os.Remove(p.path))
	}
	return nil
}
