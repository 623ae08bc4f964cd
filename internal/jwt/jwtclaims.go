package jwt

import (
	"cmp"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// judge checks the claims of j, which key signed, against the Config.
func (v *Verifier) judge(set *KeySet, key *keyEntry, j *jws) (*cached, error) {
	members, text, err := object(j.body)
	if err != nil {
		return nil, err
	}
	c := claims.New(members, text)
	subject, ok := c.Subject()
	if !ok {
		return nil, errSubject
	}
	e := &cached{set: set.mark, key: key, signingSum: verify.Digest(j.signingInput)}
	if j.named {
		e.kid = verify.RevokedKeyID(j.kid)
	}
	if jti, has := members["jti"]; has {
		text, ok := jti.(string)
		if !ok {
			return nil, errTokenID
		}
		e.jti = verify.RevokedTokenID(text)
	}
	expires, ok := instant(members, "exp")
	if !ok || expires.IsZero() {
		return nil, errNoExpiry
	}
	e.expires = expires.Add(v.cfg.Leeway)
	if e.notBefore, ok = instant(members, "nbf"); !ok {
		return nil, errNotBefore
	}
	if !e.notBefore.IsZero() {
		e.notBefore = e.notBefore.Add(-v.cfg.Leeway)
	}
	// iat never refuses a token: it only tells the age of a token (RFC 7519 section
	// 4.1.6), and the clocks of issuers may be ahead.
	if iat, has := members["iat"]; has {
		if _, ok := iat.(float64); !ok {
			return nil, errIssuedAt
		}
	}
	registered := jwt.MapClaims(members)
	if issuer, err := registered.GetIssuer(); err != nil || issuer != v.cfg.Issuer {
		return nil, errIssuer
	}
	audience, err := registered.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }) {
		return nil, errAudience
	}
	for _, r := range v.required {
		if !r.Met(c) {
			return nil, errClaims
		}
	}
	issued, ok := instant(members, "iat")
	if lasts := int64(expires.Sub(issued)); ok && !issued.IsZero() && lasts > v.longest.Load() {
		v.longest.Store(lasts) // of two concurrent stores either one will do
	}
	e.subject, e.claims = subject, members
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

// latest is the last second that RFC 3339 can represent, in Unix time. A later time is an
// error of the issuer and would overflow elsewhere.
const latest = 253402300799

// instant returns the NumericDate (RFC 7519 section 2) of the claim name. It returns the
// zero Time and true if there is no such claim, and false if the claim is not a valid
// time.
func instant(claims map[string]any, name string) (time.Time, bool) {
	value, has := claims[name]
	if !has {
		return time.Time{}, true
	}
	f, ok := value.(float64)
	if !ok || f < 0 || f > latest {
		return time.Time{}, false
	}
	whole := int64(f)
	return time.Unix(whole, int64((f-float64(whole))*1e9)), true
}
