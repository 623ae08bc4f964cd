package agent

import (
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"sync/atomic"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// The two kinds of sources.
type (
	tokenSource = typedSource[token.Token, token.Set]
	keySource   = typedSource[jwt.Key, jwt.KeySet]
)

// newTokenSource returns a source of shared tokens. closed belongs to the Agent.
func newTokenSource(src *sourceSpec, minBytes int, closed *atomic.Bool, log *slog.Logger) *tokenSource {
	m := &tokenSource{src: src, closed: closed, log: log, counts: newCounts(), users: &previousUsers{}}
	m.parse = func(c reload.Content) (declaration[token.Token], error) {
		o := token.Options{MinTokenBytes: minBytes, Name: nameOf(c, src)}
		var t token.Tokens
		var err error
		if c.Keys != nil {
			t, err = token.ParseDir(c.Keys, o)
			err = addKeyNames(err, c, token.FileCurrent)
		} else {
			t, err = token.Parse(c.Data, o)
		}
		return declaration[token.Token]{Content: t}, err
	}
	m.build = func(l *rotation.Ledger[token.Token], _ *token.Set, _ []rotation.Decl[token.Token]) *token.Set {
		return token.NewSet(l, src.name)
	}
	m.expires = token.Token.Expires
	m.codec = codec[token.Token]{
		write: func(token.Token, *storedRecord) {},
		read: func(id rotation.ID, _ storedRecord) (token.Token, bool) {
			return token.Remembered(id), true
		},
	}
	return m
}

// newKeySource returns a source of verification keys. remote is nil if the source is
// not a server. closed belongs to the Agent.
func newKeySource(src *sourceSpec, algorithm string, remote *jwks.RemoteSource, closed *atomic.Bool, log *slog.Logger) *keySource {
	m := &keySource{src: src, closed: closed, log: log, counts: newCounts(), users: &previousUsers{}}
	m.parse = func(c reload.Content) (declaration[jwt.Key], error) {
		o := jwks.ParseOptions{Name: nameOf(c, src), Algorithm: algorithm}
		if remote != nil {
			o = remote.ParseOptions()
		}
		var k jwks.Keys
		var err error
		if c.Keys != nil {
			k, err = jwks.ParseKeys(c.Keys, o)
			err = addKeyNames(err, c, jwks.KeyCurrent, jwks.KeyJWKS)
		} else {
			k, err = jwks.Parse(c.Data, o)
		}
		d := declaration[jwt.Key]{Content: k.Content}
		for _, skipped := range k.Skipped {
			d.notes = append(d.notes, "left out: "+skipped.Error())
		}
		return d, err
	}
	m.build = func(l *rotation.Ledger[jwt.Key], before *jwt.KeySet, declared []rotation.Decl[jwt.Key]) *jwt.KeySet {
		return jwt.NextKeySet(l, src.name, before, declared)
	}
	if remote != nil {
		m.usable, m.fileError = remote.Usable, remote.FileError
	}
	m.codec = codec[jwt.Key]{write: writeKey, read: readKey, names: jwt.Key.RevocableNames}
	return m
}

// nameOf returns the name of the source for error messages.
func nameOf(c reload.Content, src *sourceSpec) string {
	if c.Path != "" {
		return c.Path
	}
	return src.location
}

// writeKey stores a public key in r. An HMAC secret is not stored, so a restart forgets
// a superseded secret that the source does not declare.
func writeKey(k jwt.Key, r *storedRecord) {
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		return // an HMAC secret
	}
	r.Material, r.Method, r.KeyID = base64.StdEncoding.EncodeToString(der), k.Algorithm(), k.KeyID()
}

// readKey returns the public key that writeKey stored in r, and false if r holds no key
// with this id.
func readKey(id rotation.ID, r storedRecord) (k jwt.Key, ok bool) {
	der, err := base64.StdEncoding.DecodeString(r.Material)
	if err != nil || len(der) == 0 {
		return k, false
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return k, false
	}
	k, err = jwt.NewKey(jwt.KeyConfig{KeyID: r.KeyID, Algorithm: r.Method, Material: public})
	return k, err == nil && k.ID() == id
}
