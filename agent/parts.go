package agent

import (
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"sync/atomic"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// The two kinds of members.
type (
	tokenMember = member[verify.Token, verify.TokenSet]
	keyMember   = member[verify.Key, verify.KeySet]
)

// newTokens returns the member of a source of shared tokens.
func newTokens(src *source, minBytes int, closed *atomic.Bool, log *slog.Logger) *tokenMember {
	m := &tokenMember{src: src, closed: closed, log: log, counts: newCounts(), users: &users{}}
	m.parse = func(c reload.Content) (declaration[verify.Token], error) {
		o := verify.ParseOptions{MinTokenBytes: minBytes, Name: nameOf(c, src)}
		var t verify.Tokens
		var err error
		if c.Keys != nil {
			t, err = verify.ParseKeys(c.Keys, o)
			err = nameKeys(err, c, verify.KeyCurrent)
		} else {
			t, err = verify.Parse(c.Data, o)
		}
		return declaration[verify.Token]{Content: t}, err
	}
	m.build = func(l *rotation.Ledger[verify.Token], _ *verify.TokenSet, _ []rotation.Decl[verify.Token]) *verify.TokenSet {
		return verify.NewTokenSet(l, src.name)
	}
	m.expires = verify.Token.Expires
	m.codec = codec[verify.Token]{
		write: func(verify.Token, *writtenRecord) {},
		read: func(id rotation.ID, _ writtenRecord) (verify.Token, bool) {
			return verify.RememberedToken(id), true
		},
	}
	return m
}

// newKeys returns the member of a source of verification keys.
func newKeys(src *source, algorithm string, remote *jwks.RemoteSource, closed *atomic.Bool, log *slog.Logger) *keyMember {
	m := &keyMember{src: src, closed: closed, log: log, counts: newCounts(), users: &users{}}
	m.parse = func(c reload.Content) (declaration[verify.Key], error) {
		o := jwks.ParseOptions{Name: nameOf(c, src), Algorithm: algorithm}
		if remote != nil {
			o = remote.ParseOptions()
		}
		var k jwks.Keys
		var err error
		if c.Keys != nil {
			k, err = jwks.ParseKeys(c.Keys, o)
			err = nameKeys(err, c, jwks.KeyCurrent, jwks.KeyJWKS)
		} else {
			k, err = jwks.Parse(c.Data, o)
		}
		d := declaration[verify.Key]{Content: k.Content}
		for _, left := range k.Skipped {
			d.notes = append(d.notes, "left out: "+left.Error())
		}
		return d, err
	}
	m.build = func(l *rotation.Ledger[verify.Key], before *verify.KeySet, declared []rotation.Decl[verify.Key]) *verify.KeySet {
		return verify.NextKeySet(l, src.name, before, declared)
	}
	if remote != nil {
		m.usable, m.sideFault = remote.Usable, remote.FileFault
	}
	m.codec = codec[verify.Key]{write: writeKey, read: readKey, names: verify.Key.RevocableNames}
	return m
}

func nameOf(c reload.Content, src *source) string {
	if c.Path != "" {
		return c.Path
	}
	return src.location
}

// writeKey writes a key down where it is public. A secret is not: that it was
// superseded a restart forgets, where the source does not declare it.
func writeKey(k verify.Key, r *writtenRecord) {
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		return // a secret
	}
	r.Material, r.Method, r.KeyID = base64.StdEncoding.EncodeToString(der), k.Algorithm(), k.KeyID()
}

func readKey(id rotation.ID, r writtenRecord) (k verify.Key, ok bool) {
	der, err := base64.StdEncoding.DecodeString(r.Material)
	if err != nil || len(der) == 0 {
		return k, false
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return k, false
	}
	k, err = verify.NewKey(verify.KeyConfig{KeyID: r.KeyID, Algorithm: r.Method, Material: public})
	return k, err == nil && k.ID() == id
}
