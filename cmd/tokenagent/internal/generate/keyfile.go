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
)

// maxKeyFile bounds what is read as a key.
const maxKeyFile = 64 << 10

// maxKeyID bounds a kid, in bytes: package jwks refuses a longer one.
const maxKeyID = 1024

// keyFlags are the flags that say where keys are. They name files: a key in
// argv would stand in every process list.
type keyFlags struct {
	signing, fresh, public, jwks string

	kid   string
	noKid bool
}

func (k *keyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&k.signing, "signing-key", "", "`FILE` of the key that signs the JWT")
	fs.StringVar(&k.fresh, "new-signing-key", "", "make a key, put it into a new `FILE` (mode 0600) and sign with it")
	fs.StringVar(&k.public, "public-key-out", "", "write the public key to `FILE` as PEM, for those who verify")
	fs.StringVar(&k.jwks, "public-jwks-out", "", "write the public key to `FILE` as a JWKS, with its kid and algorithm, for those who verify")
	fs.StringVar(&k.kid, "kid", "", "`NAME` of the signing key, in the JWT's header and in the JWKS (default the key's RFC 7638 thumbprint, and none for HS256)")
	fs.BoolVar(&k.noKid, "no-kid", false, "give the signing key no name")
}

// A signingKey is what a JWT is signed with.
type signingKey struct {
	alg, kid string // kid "" for none
	key      any
}

// named returns key with its name.
func (k *keyFlags) named(alg string, key any) (s signingKey, err error) {
	s = signingKey{alg, k.kid, key}
	if k.kid == "" && !k.noKid {
		s.kid, err = thumbprint(alg, key)
	}
	return s, err
}

// outputs returns the files for the public key that the flags name.
func (k *keyFlags) outputs() []output {
	var out []output
	if k.public != "" {
		out = append(out, output{"public-key-out", k.public, func(s signingKey) ([]byte, error) { return publicPEM(s.key) }})
	}
	if k.jwks != "" {
		out = append(out, output{"public-jwks-out", k.jwks, func(s signingKey) ([]byte, error) { return publicJWKS(s.alg, s.kid, s.key) }})
	}
	return out
}

// An output is a file that holds the public key.
type output struct {
	flag, path string
	form       func(signingKey) ([]byte, error)
}

// open returns the key to sign with, having made and written what the flags
// ask for.
func (k *keyFlags) open(alg string, stderr io.Writer) (signingKey, error) {
	outputs := k.outputs()
	switch {
	case k.signing != "" && k.fresh != "":
		return signingKey{}, exitcode.Usage("--signing-key and --new-signing-key are both set; one key signs")
	case k.signing == "" && k.fresh == "":
		return signingKey{}, exitcode.Usage("--jwt needs --signing-key FILE, or --new-signing-key FILE to make one")
	case len(outputs) > 0 && alg == algHS256:
		return signingKey{}, exitcode.Usage("--%s goes with ES256, EdDSA, RS256 and PS256; HS256 has a secret alone, which verifiers need too", outputs[0].flag)
	case k.kid != "" && k.noKid:
		return signingKey{}, exitcode.Usage("--kid and --no-kid are both set; a key has one name or none")
	case len(k.kid) > maxKeyID:
		return signingKey{}, exitcode.Usage("--kid is longer than %d bytes; verifiers take none that is", maxKeyID)
	case len(outputs) == 2 && k.public == k.jwks:
		return signingKey{}, exitcode.Usage("--public-key-out and --public-jwks-out name one file; give each its own")
	}
	if k.fresh != "" {
		return k.create(alg, outputs)
	}
	key, err := k.read(alg, stderr)
	if err != nil {
		return signingKey{}, err
	}
	s, err := k.named(alg, key)
	for _, o := range outputs {
		if err == nil {
			_, err = o.publish(s)
		}
	}
	return s, err
}

// create makes a key. All files are looked at first, so that a refusal leaves
// nothing behind.
func (k *keyFlags) create(alg string, outputs []output) (signingKey, error) {
	for _, name := range append([]output{{flag: "new-signing-key", path: k.fresh}}, outputs...) {
		if _, err := os.Lstat(name.path); err == nil {
			return signingKey{}, fmt.Errorf("--%s: %s exists and is not overwritten; name another file, or sign with it by --signing-key", name.flag, name.path)
		}
	}
	key, file, err := newKey(alg)
	if err != nil {
		return signingKey{}, err
	}
	s, err := k.named(alg, key)
	if err != nil {
		return signingKey{}, err
	}
	if err := createFile(k.fresh, file, 0o600); err != nil {
		return signingKey{}, fmt.Errorf("--new-signing-key: %w", err)
	}
	made := []string{k.fresh}
	for _, o := range outputs {
		wrote, err := o.publish(s)
		if wrote {
			made = append(made, o.path)
		}
		if err != nil {
			for _, path := range made { // a second try would find them there
				err = errors.Join(err, os.Remove(path))
			}
			return signingKey{}, err
		}
	}
	return s, nil
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

// publish writes the public key, and reports whether it made the file. A file
// that holds it already is left alone, one that holds anything else is not
// overwritten: it might be the private key.
func (o output) publish(s signingKey) (wrote bool, err error) {
	text, err := o.form(s)
	if err != nil {
		return false, fmt.Errorf("--%s: %w", o.flag, err)
	}
	err = createFile(o.path, text, 0o644)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		if have, e := os.ReadFile(o.path); e == nil && bytes.Equal(have, text) {
			return false, nil
		}
		return false, fmt.Errorf("--%s: %s exists and holds something else; remove it or name another file", o.flag, o.path)
	default:
		return false, fmt.Errorf("--%s: %w", o.flag, err)
	}
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
