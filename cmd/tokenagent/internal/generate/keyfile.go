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

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
)

const (
	maxKeyFile = 64 << 10 // bytes that are read as a key
	maxKeyID   = 1024     // bytes of a kid; package jwks refuses a longer one
)

// keyFlags are the flags that name key files. There is no flag for a key itself, because
// every process list shows the arguments.
type keyFlags struct {
	signing, fresh, public, jwks string

	kid   string
	noKid bool
}

func (k *keyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&k.signing, "signing-key", "", "`FILE` of the key that signs the JWT")
	fs.StringVar(&k.fresh, "new-signing-key", "", "`FILE` to create (mode 0600) for a new key, which signs the JWT")
	fs.StringVar(&k.public, "public-key-out", "", "`FILE` for the public key as PEM, for those who verify")
	fs.StringVar(&k.jwks, "public-jwks-out", "", "`FILE` for the public key as a JWKS, with its kid and algorithm, for those who verify")
	fs.StringVar(&k.kid, "kid", "", "`NAME` of the signing key, in the JWT's header and in the JWKS (default the key's RFC 7638 thumbprint, and none for HS256)")
	fs.BoolVar(&k.noKid, "no-kid", false, "give the signing key no name")
}

// check refuses flags that do not go together.
func (k *keyFlags) check(algorithm string) error {
	switch {
	case k.signing != "" && k.fresh != "":
		return exitcode.Usage("--signing-key and --new-signing-key are both set; one key signs")
	case k.signing == "" && k.fresh == "":
		return exitcode.Usage("--jwt needs --signing-key FILE, or --new-signing-key FILE to make one")
	case algorithm == hs256 && k.public+k.jwks != "":
		return exitcode.Usage("--public-key-out and --public-jwks-out go with ES256, EdDSA, RS256 and PS256; HS256 has only a secret, which verifiers need too")
	case k.kid != "" && k.noKid:
		return exitcode.Usage("--kid and --no-kid are both set; a key has one name or none")
	case len(k.kid) > maxKeyID:
		return exitcode.Usage("--kid is longer than %d bytes; verifiers refuse such a name", maxKeyID)
	case k.public != "" && k.public == k.jwks:
		return exitcode.Usage("--public-key-out and --public-jwks-out name the same file; give each its own")
	}
	return nil
}

// An output is a file that a flag names.
type output struct {
	flag, path string
	text       []byte
	mode       fs.FileMode
}

// open returns the signing key, and writes the files that the flags name. If it cannot write
// one of them, it removes the others.
func (k *keyFlags) open(algorithm string, stderr io.Writer) (s signingKey, err error) {
	if err := k.check(algorithm); err != nil {
		return s, err
	}
	var key any
	var private []byte
	if k.fresh != "" {
		key, private, err = makeKey(algorithm)
	} else {
		key, err = k.read(algorithm, stderr)
	}
	if err != nil {
		return s, err
	}
	if s, err = newSigningKey(algorithm, key); err != nil {
		return s, fmt.Errorf("--signing-key: %s holds %w", k.signing, err)
	}
	if k.kid != "" || k.noKid {
		s.kid = k.kid
	}
	outputs := []output{{"new-signing-key", k.fresh, private, 0o600}}
	if k.public != "" {
		text, err := keygen.PEM(s.public)
		if err != nil {
			return s, fmt.Errorf("--public-key-out: %w", err)
		}
		outputs = append(outputs, output{"public-key-out", k.public, text, 0o644})
	}
	if k.jwks != "" {
		text, err := keygen.JWKS(algorithm, s.kid, s.public)
		if err != nil {
			return s, fmt.Errorf("--public-jwks-out: %w", err)
		}
		outputs = append(outputs, output{"public-jwks-out", k.jwks, text, 0o644})
	}
	return s, writeAll(outputs)
}

// writeAll writes the outputs that have a path. It accepts an existing file with the same
// text, and overwrites no other file, which might be the private key.
func writeAll(outputs []output) error {
	var made []string
	for _, o := range outputs {
		if o.path == "" {
			continue
		}
		err := keygen.WriteNew(o.path, o.text, o.mode)
		if err == nil {
			made = append(made, o.path)
			continue
		}
		if errors.Is(err, fs.ErrExist) {
			have, e := os.ReadFile(o.path)
			if e == nil && bytes.Equal(have, o.text) {
				continue
			}
			err = fmt.Errorf("%s exists, holds something else and is not overwritten; name another file, or sign with an existing key (--signing-key)", o.path)
		}
		err = fmt.Errorf("--%s: %w", o.flag, err)
		for _, path := range made { // a second try would find them
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	return nil
}

func (k *keyFlags) read(algorithm string, stderr io.Writer) (key any, err error) {
	f, err := os.Open(k.signing)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("--signing-key: %w (the path is not repeated here, since it may be a key); give the path of the key's file", e.Err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("--signing-key: %w", err)
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("--signing-key: %s has more than %d bytes and is no key", k.signing, maxKeyFile)
	}
	if key, err = parseKey(algorithm, text); err != nil {
		return nil, fmt.Errorf("--signing-key: %s holds %w", k.signing, err)
	}
	// A pipe, such as a shell's <(command), has no permissions that matter.
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		_, _ = fmt.Fprintf(stderr, "tokenagent: warning: %s can be read by others than its owner (mode %s); chmod 600\n", k.signing, info.Mode().Perm())
	}
	return key, nil
}
