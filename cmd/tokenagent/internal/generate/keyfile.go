package generate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// maxKeyFile bounds what is read as a key.
const maxKeyFile = 64 << 10

// keyFlags are the flags that say where keys are. They name files: a key in
// argv would stand in every process list.
type keyFlags struct{ signing, fresh, public string }

func (k *keyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&k.signing, "signing-key", "", "`FILE` of the key that signs the JWT")
	fs.StringVar(&k.fresh, "new-signing-key", "", "make a key, put it into a new `FILE` (mode 0600) and sign with it")
	fs.StringVar(&k.public, "public-key-out", "", "write the public key to `FILE` as PEM, for those who verify")
}

// open returns the key to sign with, having made and written what the flags
// ask for.
func (k *keyFlags) open(alg string, stderr io.Writer) (any, error) {
	switch {
	case k.signing != "" && k.fresh != "":
		return nil, fail.Usage("--signing-key and --new-signing-key are both set; one key signs")
	case k.signing == "" && k.fresh == "":
		return nil, fail.Usage("--jwt needs --signing-key FILE, or --new-signing-key FILE to make one")
	case k.public != "" && alg == algHS256:
		return nil, fail.Usage("--public-key-out goes with ES256 and EdDSA; HS256 has a secret alone, which verifiers need too")
	}
	if k.fresh != "" {
		return k.create(alg)
	}
	key, err := k.read(alg, stderr)
	if err != nil || k.public == "" {
		return key, err
	}
	return key, k.publish(key)
}

// create makes a key. Both files are looked at first, so that a refusal leaves
// nothing behind.
func (k *keyFlags) create(alg string) (any, error) {
	for _, name := range []struct{ flag, path string }{{"new-signing-key", k.fresh}, {"public-key-out", k.public}} {
		if name.path == "" {
			continue
		}
		if _, err := os.Lstat(name.path); err == nil {
			return nil, fmt.Errorf("--%s: %s exists and is not overwritten; name another file, or sign with it by --signing-key", name.flag, name.path)
		}
	}
	key, file, err := newKey(alg)
	if err != nil {
		return nil, err
	}
	if err := createFile(k.fresh, file, 0o600); err != nil {
		return nil, fmt.Errorf("--new-signing-key: %w", err)
	}
	if k.public == "" {
		return key, nil
	}
	if err := k.publish(key); err != nil {
		return nil, errors.Join(err, os.Remove(k.fresh)) // a second try would find it there
	}
	return key, nil
}

func (k *keyFlags) read(alg string, stderr io.Writer) (any, error) {
	f, err := os.Open(k.signing)
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %w", err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("--signing-key: %s has more than %d bytes and is no key", k.signing, maxKeyFile)
	}
	key, err := parseKey(alg, data)
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %s %w", k.signing, err)
	}
	// A pipe, such as a shell's <(command), has no permissions that matter.
	if perm := info.Mode().Perm(); info.Mode().IsRegular() && perm&0o077 != 0 && runtime.GOOS != "windows" {
		warn(stderr, "%s can be read by others than its owner (mode %s); chmod 600", k.signing, perm)
	}
	return key, nil
}

// warn tells a person. Where nobody reads it, nothing is lost.
func warn(stderr io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(stderr, "tokenagent: warning: "+format+"\n", args...)
}

// publish writes the public key. A file that holds it already is left alone,
// one that holds anything else is not overwritten: it might be the private key.
func (k *keyFlags) publish(key any) error {
	text, err := publicPEM(key)
	if err != nil {
		return fmt.Errorf("--public-key-out: %w", err)
	}
	err = createFile(k.public, text, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if have, e := os.ReadFile(k.public); e == nil && bytes.Equal(have, text) {
			return nil
		}
		return fmt.Errorf("--public-key-out: %s exists and holds something else; remove it or name another file", k.public)
	}
	if err != nil {
		return fmt.Errorf("--public-key-out: %w", err)
	}
	return nil
}

// createFile writes a file that must not exist.
func createFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		err = errors.Join(err, os.Remove(path)) // half a key is worse than none
	}
	return err
}
