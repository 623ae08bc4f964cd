package rotate

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/token"
)

// makeKey makes a verification key like those that are there.
func (r *request) makeKey(c content.Content) error {
	model, err := modelKey(c)
	if err != nil {
		return err
	}
	alg := model.Key().Algorithm()
	switch shared := model.Key().PublicKey() == nil; {
	case shared && r.privateOut != "":
		return exitcode.Usage("--private-out goes with key pairs; a key for %s is one secret, which is kept in the source", alg)
	case !shared && r.privateOut == "":
		return exitcode.Usage("the private key of a new %s pair needs a file: name a new one with --private-out FILE, or stage the public key of an existing pair with --from FILE", alg)
	case !shared && r.isInSource(r.privateOut):
		return exitcode.Usage("--private-out must not be in %s, which receivers read; name a file that only the signer reads", r.path)
	}
	if _, err := os.Lstat(r.privateOut); r.privateOut != "" && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--private-out: %s exists and is not overwritten; name another file, or stage its public key (openssl pkey -in FILE -pubout) with --from", r.privateOut)
	}
	r.candidate, r.private, err = keyLike(model, c.IsKeySet)
	return err
}

// modelKey returns the key of c that a new one is to be like: the current one, or the
// last of a key set.
func modelKey(c content.Content) (content.Credential, error) {
	if !c.IsKeySet {
		return c.Current, nil
	}
	model := c.Listed[len(c.Listed)-1]
	for _, k := range c.Listed {
		if k.Key().Algorithm() != model.Key().Algorithm() {
			return model, errors.New("the key set has keys of several algorithms; make a key yourself, and stage it with --from FILE")
		}
	}
	return model, nil
}

// keyLike makes a key of the algorithm, the length and the form of model; for a key set,
// a JWK. private is the private key of a pair as PEM.
func keyLike(model content.Credential, set bool) (made content.Credential, private token.Token, err error) {
	alg := model.Key().Algorithm()
	var material any
	if public := model.Key().PublicKey(); public == nil { // as long as the hash
		material = []byte(keygen.Secret(map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[alg]))
	} else {
		rsaBits := 0
		if k, ok := public.(*rsa.PublicKey); ok {
			rsaBits = k.N.BitLen()
		}
		signer, text, err := keygen.New(alg, rsaBits)
		if err != nil {
			return made, private, err
		}
		material, private = signer.Public(), token.New(string(text))
	}
	if set || content.IsJWK([]byte(model.Reveal())) {
		made, err = asJWK(alg, material, set || model.Key().KeyID() != "")
		return made, private, err
	}
	k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: material})
	text, shared := material.([]byte)
	if err == nil && !shared {
		text, err = keygen.PEM(material)
	}
	return content.Key(k, text), private, err
}

// asJWK returns a key written as a JWK, named by its thumbprint if it is to have a name.
func asJWK(alg string, material any, named bool) (content.Credential, error) {
	config := jwt.KeyConfig{Algorithm: alg, Material: material}
	k, err := jwt.NewKey(config)
	if err == nil && named {
		config.KeyID = keygen.Thumbprint(k)
		k, err = jwt.NewKey(config)
	}
	if err != nil {
		return content.Credential{}, err
	}
	text, err := keygen.JWK(k.Algorithm(), k.KeyID(), material)
	return content.Key(k, text), err
}

// forSet returns the key v, in whatever form it is written, as a JWK with a name. A JWK
// keeps its members.
func forSet(v content.Credential) (content.Credential, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix([]byte(v.Reveal()), []byte("\ufeff")))
	if !content.IsJWK(text) {
		material := any(v.Key().PublicKey())
		if material == nil {
			material = text
		}
		return asJWK(v.Key().Algorithm(), material, true)
	}
	if v.Key().KeyID() == "" { // it has other members: without kty it would be no JWK
		text = []byte(`{"kid":"` + keygen.Thumbprint(v.Key()) + `",` + string(text[1:]))
	}
	s, err := content.ParseFile(text, content.Options{Kind: content.Keys, Algorithm: v.Key().Algorithm()})
	return s.Current, err
}

// isInSource reports whether path lies in the source, if that is a directory.
func (r *request) isInSource(path string) bool {
	source, err := filepath.EvalSymlinks(r.path)
	dir, e := filepath.EvalSymlinks(filepath.Dir(path))
	if r.path == "" || err != nil || e != nil {
		return false // opening them fails, too
	}
	source, err = filepath.Abs(source)
	dir, e = filepath.Abs(dir)
	rel, e2 := filepath.Rel(source, dir)
	return errors.Join(err, e, e2) != nil || filepath.IsLocal(rel)
}
