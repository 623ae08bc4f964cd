package rotate

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/token"
)

// pair makes a key like those that are there.
func (r *request) pair(all []content.Content) error {
	c := all[0]
	model, err := modelKey(c)
	if err != nil {
		return err
	}
	alg := model.Key().Algorithm()
	switch shared := model.Key().PublicKey() == nil; {
	case shared && r.privateOut != "":
		return exitcode.Usage("--private-out goes with key pairs; a key for %s is one secret, which stands in the source", alg)
	case !shared && r.privateOut == "":
		return exitcode.Usage("a key for %s has a private half, which must go somewhere: name a new file with --private-out FILE, or stage the public key of a pair that there is, with --from FILE", alg)
	}
	if _, err := os.Lstat(r.privateOut); r.privateOut != "" && !errors.Is(err, fs.ErrNotExist) {
		r.given = true
		r.token, err = r.madeBefore(all)
		return err
	}
	r.token, r.private, err = keyLike(model, c.Set)
	return err
}

// modelKey returns the key of c that a new one is to be like: the current one, or of
// a key set the longest of those that are there, where all of them have one algorithm.
func modelKey(c content.Content) (content.Credential, error) {
	if !c.Set {
		return c.Current, nil
	}
	bits := func(k content.Credential) int {
		if public, ok := k.Key().PublicKey().(*rsa.PublicKey); ok {
			return public.N.BitLen()
		}
		return 0
	}
	model := c.Listed[0]
	for _, k := range c.Listed[1:] {
		if k.Key().Algorithm() != model.Key().Algorithm() {
			return content.Credential{}, errors.New("the key set has keys of several algorithms; say which by a key of your own, with --from FILE")
		}
		if bits(k) > bits(model) {
			model = k
		}
	}
	return model, nil
}

// keyLike returns a new key of the algorithm and the length of model, written in
// model's form, or as a JWK with a name for a key set; and the private key as PEM,
// where that is another.
func keyLike(model content.Credential, set bool) (made content.Credential, private token.Token, err error) {
	alg := model.Key().Algorithm()
	var material any
	if model.Key().PublicKey() == nil { // as long as the hash
		material = []byte(keygen.Secret(map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[alg]))
	} else {
		kind, err := keygen.KindOf(model.Key().PublicKey())
		if err != nil {
			return made, private, fmt.Errorf("making a key: %w", err)
		}
		signer, text, err := keygen.New(kind)
		if err != nil {
			return made, private, err
		}
		material, private = signer.Public(), token.New(string(text))
	}
	k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: material})
	if err != nil {
		return made, private, fmt.Errorf("making a key: %w", err)
	}
	if set || content.IsJWK([]byte(model.Reveal())) {
		made, err = asJWK(k, material, set || model.Key().KeyID() != "")
		return made, private, err
	}
	text, shared := material.([]byte)
	if !shared {
		text, err = keygen.PEM(material)
	}
	return content.Key(k, text), private, err
}

// asJWK returns k, which is made of material, written as a JWK. named gives it its
// thumbprint as kid where it has none.
func asJWK(k jwt.Key, material any, named bool) (content.Credential, error) {
	kid := k.KeyID()
	if named && kid == "" {
		kid = keygen.Thumbprint(k)
	}
	text, err := keygen.JWK(k.Algorithm(), kid, material)
	if err != nil {
		return content.Credential{}, fmt.Errorf("writing a JWK: %w", err)
	}
	return readJWK(text, k)
}

// readJWK returns the key that text, a JWK, says, which must be k but for its name.
func readJWK(text []byte, k jwt.Key) (content.Credential, error) {
	got, err := jwks.Parse(text, jwks.ParseOptions{Algorithm: k.Algorithm()})
	if err != nil {
		return content.Credential{}, err
	}
	if len(got.Decls) != 1 || got.Decls[0].ID != k.ID() || got.Decls[0].Value.Algorithm() != k.Algorithm() {
		return content.Credential{}, content.ErrUnfaithful
	}
	return content.Key(got.Decls[0].Value, text), nil
}

// forSet returns the key v, which may be written in any form, as a JWK with a
// name. A JWK keeps its members, and its name where it has one.
func forSet(v content.Credential) (content.Credential, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix([]byte(v.Reveal()), []byte("\xef\xbb\xbf")))
	switch {
	case !content.IsJWK(text):
		material := any(v.Key().PublicKey())
		if material == nil {
			material = text
		}
		return asJWK(v.Key(), material, true)
	case v.Key().KeyID() != "":
		return readJWK(text, v.Key())
	default:
		// It has members: without kty it would be no JWK.
		return readJWK([]byte(`{"kid":"`+keygen.Thumbprint(v.Key())+`",`+string(text[1:])), v.Key())
	}
}

// publicHalf returns the key that verifies what the private key in text signs:
// PKCS #8 as PEM. The error quotes nothing.
func publicHalf(text []byte, algorithm string) (jwt.Key, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || strings.TrimSpace(string(rest)) != "" {
		return jwt.Key{}, errors.New("no private key alone, as PEM of PKCS #8")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := private.(crypto.Signer)
	if err != nil || !ok {
		return jwt.Key{}, errors.New("a private key that cannot be read")
	}
	return jwt.NewKey(jwt.KeyConfig{Algorithm: algorithm, Material: signer.Public()})
}

// checkPrivateOut refuses a file for the private key that lies in the source, where
// that is a directory.
func (r *request) checkPrivateOut() error {
	src, err := os.Stat(r.path)
	if err != nil || !src.IsDir() {
		return nil //nolint:nilerr // what is wrong with the source is told by who reads it
	}
	at, err := filepath.Abs(r.privateOut)
	if err != nil {
		return err
	}
	for up := filepath.Dir(at); up != at; at, up = up, filepath.Dir(up) {
		if info, err := os.Stat(up); err == nil && os.SameFile(info, src) {
			return exitcode.Usage("--private-out must not lie in %s, which receivers read; name a file that the signer alone reads", r.path)
		}
	}
	return nil
}

// madeBefore finds the credential in one of all whose private half stands in the file
// of --private-out already: a step that is repeated finds the key that it made.
func (r *request) madeBefore(all []content.Content) (content.Credential, error) {
	var text []byte
	if info, err := os.Stat(r.privateOut); err == nil && info.Size() <= maxToken && info.Mode().IsRegular() {
		text, _ = os.ReadFile(r.privateOut)
	}
	for _, c := range all {
		for _, v := range slices.Concat([]content.Credential{c.Current}, c.Next, c.Listed) {
			if k, err := publicHalf(text, v.Key().Algorithm()); err == nil && k.ID() == v.ID() {
				return v, nil
			}
		}
	}
	return content.Credential{}, fmt.Errorf("--private-out: %s exists and is not overwritten; name another file, or stage the key that is in there: openssl pkey -in FILE -pubout, and --from", r.privateOut)
}

// writePrivate writes the file of --private-out, which must not exist, for its owner
// alone.
func (r *request) writePrivate() error {
	f, err := os.OpenFile(r.privateOut, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--private-out: %w", err)
	}
	_, err = f.WriteString(r.private.Reveal())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(fmt.Errorf("--private-out: %w", err), os.Remove(r.privateOut))
	}
	return nil
}
