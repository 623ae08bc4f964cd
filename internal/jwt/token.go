package jwt

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	// maxHeader bounds the encoded header, in bytes, which is decoded before the
	// signature is checked.
	maxHeader = 4 << 10
	// MaxKeyID is the length in bytes of the longest kid.
	MaxKeyID = 1024
)

// A jws is a parsed signed token (RFC 7515 section 7.1). Nothing in it has been verified.
type jws struct {
	alg, kid, typ string
	named         bool // whether the token has a kid
	signingInput  string
	signature     []byte
	body          string // the claims, still encoded
	claims        []byte // body, decoded; nil until issuerOf or checkClaims needs it
}

// parseJWS splits a token and decodes its header. The claims are decoded only after the
// signature is verified, because senders choose how much they cost. parseJWS accepts only one spelling of each token, so that other
// parsers read the token in the same way, and nobody can present it in another form.
func parseJWS(token string) (*jws, error) {
	for i := range len(token) {
		// encoding/base64 skips line breaks, even in strict mode.
		c := token[i]
		if alphanumeric := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'; !alphanumeric && c != '-' && c != '_' && c != '.' {
			return nil, errForm
		}
	}
	head, rest, _ := strings.Cut(token, ".")
	body, sig, ok := strings.Cut(rest, ".")
	if !ok || body == "" || strings.Contains(sig, ".") {
		return nil, errForm
	}
	if len(head) > maxHeader {
		return nil, errHeader
	}
	signature, err := strictBase64.DecodeString(sig)
	if err != nil || len(signature) == 0 {
		return nil, errForm
	}
	text, err := decode(head)
	if err != nil {
		return nil, err
	}
	header, err := object(text)
	if err != nil {
		return nil, err
	}
	if _, has := header["crit"]; has {
		return nil, errCritical // RFC 7515 section 4.1.11: this package supports no extension
	}
	j := &jws{signingInput: token[:len(head)+1+len(body)], signature: signature, body: body}
	for _, m := range [...]struct {
		name string
		into *string
	}{{"alg", &j.alg}, {"kid", &j.kid}, {"typ", &j.typ}} {
		if value, has := header[m.name]; has {
			if *m.into, ok = value.(string); !ok {
				return nil, errForm
			}
		}
	}
	if j.alg == "" || len(j.kid) > MaxKeyID {
		return nil, errForm
	}
	j.alg = CanonicalAlgorithm(j.alg)
	_, j.named = header["kid"]
	return j, nil
}

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

// decode decodes one segment.
func decode(segment string) ([]byte, error) {
	text, err := strictBase64.DecodeString(segment)
	if err != nil {
		return nil, errForm
	}
	return text, nil
}

// object parses a JSON object. It rejects a repeated member name, because parsers disagree
// about which value counts (RFC 7519 section 4).
func object(text []byte) (map[string]any, error) {
	var m map[string]any
	if !utf8.Valid(text) || json.Unmarshal(text, &m) != nil || m == nil {
		return nil, errForm
	}
	if _, err := strictjson.Check(text); errors.Is(err, strictjson.ErrRepeated) {
		return nil, errTwice
	} else if err != nil {
		return nil, errForm
	}
	return m, nil
}

// issuerOf returns the index of the issuer that j names. Nothing in j has been verified
// yet: checkClaims compares the "iss" again after the signature is verified. issuerOf does
// not decode the other claims.
func (v *Verifier) issuerOf(j *jws) (int, error) {
	if len(v.issuers) == 1 {
		return 0, nil
	}
	var err error
	if j.claims, err = decode(j.body); err != nil || !json.Valid(j.claims) {
		return 0, errForm
	}
	name, has, isString := strictjson.StringMember(j.claims, "iss")
	at, known := v.byIss[name]
	if has && (!isString || name == "") || !known {
		return 0, errIssuer
	}
	return at, nil
}

// checkClaims checks the claims of j, which key signed, against the Config.
func (iss *Issuer) checkClaims(set *KeySet, key *keyEntry, j *jws) (*cached, error) {
	if j.claims == nil {
		var err error
		if j.claims, err = decode(j.body); err != nil {
			return nil, err
		}
	}
	members, err := object(j.claims)
	if err != nil {
		return nil, err
	}
	c := NewClaims(members, j.claims)
	e := &cached{set: set.mark, key: key, claims: members, signingSum: verify.Digest(j.signingInput)}
	var ok bool
	if e.subject, ok = c.subject(); !ok {
		return nil, errSubject
	}
	if j.named {
		e.kid = verify.RevokedKeyID(j.kid)
	}
	if jti, has := members["jti"]; has {
		id, ok := jti.(string)
		if !ok {
			return nil, errTokenID
		}
		e.jti = verify.RevokedTokenID(id)
	}
	expires, ok := c.time("exp")
	if !ok || expires.IsZero() {
		return nil, errNoExpiry
	}
	e.expires = expires.Add(iss.cfg.Leeway)
	if e.notBefore, ok = c.time("nbf"); !ok {
		return nil, errNotBefore
	}
	if !e.notBefore.IsZero() {
		e.notBefore = e.notBefore.Add(-iss.cfg.Leeway)
	}
	// iat never refuses a token: it only tells the age of a token (RFC 7519 section
	// 4.1.6), and the clocks of issuers may be ahead.
	if iat, has := members["iat"]; has {
		if _, ok := iat.(float64); !ok {
			return nil, errIssuedAt
		}
	}
	registered := jwt.MapClaims(members)
	issuer, err := registered.GetIssuer()
	if _, has := members["iss"]; err != nil || has && (issuer == "" || issuer != iss.cfg.Issuer) || !has && !iss.cfg.AllowMissingIssuer {
		return nil, errIssuer
	}
	audience, err := registered.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(iss.cfg.Audiences, a) }) {
		return nil, errAudience
	}
	for _, r := range iss.required {
		if !r.Met(c) {
			return nil, errClaims
		}
	}
	issued, ok := c.time("iat")
	if lasts := int64(expires.Sub(issued)); ok && !issued.IsZero() && lasts > iss.longest.Load() {
		iss.longest.Store(lasts) // either of two concurrent stores is right enough
	}
	e.principal = e.principalOf(set, key)
	return e, nil
}

// principalOf returns the Principal of the token. Readers of the subject must never find
// it empty, so a token without a subject gets the name of the source.
func (e *cached) principalOf(set *KeySet, key *keyEntry) *verify.Principal {
	return verify.NewPrincipal(verify.PrincipalConfig{
		Subject: cmp.Or(e.subject, set.source), Method: verify.MethodJWT, Source: set.source, KeyID: key.key.Label(),
		Slot: key.entry.Slot, Claims: e.claims, Credential: e.signingSum,
		RevocableBy: []rotation.ID{e.signingSum, e.jti, e.kid, key.key.ID(), verify.RevokedKeyID(key.key.KeyID())},
	})
}
