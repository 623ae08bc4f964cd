package jwt

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

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
	claims        string // JSON, if the sender is honest
}

// parseJWS splits a token and reads its header. The claims are read only after the
// signature is verified, because senders choose how much they cost. parseJWS accepts only
// one spelling of each token, so that other parsers read the token in the same way, and
// nobody can present it in another form.
func parseJWS(token string) (*jws, error) {
	head, rest, _ := strings.Cut(token, ".")
	body, sig, ok := strings.Cut(rest, ".")
	// encoding/base64 refuses a third dot, but skips line breaks, even in strict mode.
	if !ok || body == "" || strings.Contains(token, "\n") || strings.Contains(token, "\r") {
		return nil, errForm
	}
	if len(head) > maxHeader {
		return nil, errHeader
	}
	signature, err := strictBase64.DecodeString(sig)
	if err != nil || len(signature) == 0 {
		return nil, errForm
	}
	j := &jws{signingInput: token[:len(head)+1+len(body)], signature: signature}
	if j.claims, err = decode(body); err != nil {
		return nil, err
	}
	header, err := decode(head)
	if err != nil {
		return nil, err
	}
	return j, j.readHeader(header)
}

// readHeader reads the members of header that this package knows.
func (j *jws) readHeader(header string) error {
	allText, critical := true, false
	err := strictjson.Object(header, func(name, value string) {
		var into *string
		switch name {
		case "alg":
			into = &j.alg
		case "kid":
			into, j.named = &j.kid, true
		case "typ":
			into = &j.typ
		case "crit":
			critical = true
			return
		default:
			return
		}
		text, isText := strictjson.String(value)
		*into, allText = text, allText && isText
	})
	switch {
	case err != nil:
		return formError(err)
	case critical: // RFC 7515 section 4.1.11: this package supports no extension
		return errCritical
	case !allText || j.alg == "" || len(j.kid) > MaxKeyID:
		return errForm
	}
	j.alg = CanonicalAlgorithm(j.alg)
	return nil
}

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

// decode decodes one segment.
func decode(segment string) (string, error) {
	var buf [1024]byte
	text := buf[:]
	if n := strictBase64.DecodedLen(len(segment)); n > len(text) {
		text = make([]byte, n)
	}
	n, err := strictBase64.Decode(text, []byte(segment))
	if err != nil {
		return "", errForm
	}
	return string(text[:n]), nil
}

// formError returns the refusal of a header or claims in which strictjson found err.
// Parsers disagree about which value of a repeated member counts (RFC 7519 section 4).
func formError(err error) error {
	if errors.Is(err, strictjson.ErrRepeated) {
		return errTwice
	}
	return errForm
}

// issuerOf returns the index of the issuer that j names. Nothing in j has been verified
// yet: checkClaims compares the "iss" again after the signature is verified. issuerOf does
// not decode the other claims.
func (v *Verifier) issuerOf(j *jws) (int, error) {
	if len(v.issuers) == 1 {
		return 0, nil
	}
	value, err := strictjson.First(j.claims, "iss")
	if err != nil {
		return 0, errForm
	}
	name, isText := strictjson.String(value)
	has := value != ""
	if has && (!isText || name == "") {
		return 0, errIssuer
	}
	at, known := v.byIss[name]
	if i := slices.IndexFunc(v.learned, func(i int) bool { return v.issuers[i].accepts(name) }); !known && i >= 0 {
		at, known = v.learned[i], true
	}
	if !has || !known {
		if owner, owned := v.ownerOfSubject(j.claims); owned {
			at, known = owner, v.issuers[owner].acceptsIssuer(name, has)
			has = false // the token belongs to no issuer whose name is learned
		}
	}
	switch {
	case known:
		return at, nil
	case has:
		return 0, v.refuseName()
	default:
		return 0, errIssuer
	}
}

// refuseName returns the error about a token with an "iss" that no issuer accepts.
func (v *Verifier) refuseName() error {
	err := errIssuer
	for _, i := range v.learned {
		if e := v.issuers[i].refuseName(); !errors.Is(e, errIssuer) {
			err = e
		}
	}
	return err
}

// checkClaims checks the claims of j, which key signed, against the Config.
func (iss *Issuer) checkClaims(set *KeySet, key *keyEntry, j *jws) (*cached, error) {
	c, err := parseClaims(j.claims)
	if err != nil {
		return nil, err
	}
	e := &cached{set: set.mark, key: key, claims: c.text, signingSum: verify.Digest(j.signingInput)}
	var ok bool
	if e.subject, ok = c.subject(); !ok {
		return nil, errSubject
	}
	switch {
	case j.named && j.kid == key.key.KeyID():
		e.kid = key.name
	case j.named:
		e.kid = verify.RevokedKeyID(j.kid)
	}
	if c.jti != "" {
		id, ok := strictjson.String(c.jti)
		if !ok {
			return nil, errTokenID
		}
		e.jti = verify.RevokedTokenID(id)
	}
	expires, ok := timeOf(c.exp)
	if !ok || expires.IsZero() {
		return nil, errNoExpiry
	}
	e.expires = expires.Add(iss.cfg.Leeway)
	if e.notBefore, ok = timeOf(c.nbf); !ok {
		return nil, errNotBefore
	}
	if !e.notBefore.IsZero() {
		e.notBefore = e.notBefore.Add(-iss.cfg.Leeway)
	}
	// iat never refuses a token: it only tells the age of a token (RFC 7519 section
	// 4.1.6), and the clocks of issuers may be ahead.
	if _, ok := strictjson.Number(c.iat); c.iat != "" && !ok {
		return nil, errIssuedAt
	}
	issuer, ok := strictjson.String(c.iss)
	if c.iss != "" && !ok || !iss.acceptsIssuer(issuer, c.iss != "") {
		if c.iss == "" || !ok {
			return nil, errIssuer
		}
		return nil, iss.refuseName()
	}
	if !c.isFor(iss.cfg.Audiences) {
		return nil, errAudience
	}
	for _, r := range iss.required {
		if !r.Met(c) {
			return nil, errClaims
		}
	}
	issued, ok := timeOf(c.iat)
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
		Slot: key.entry.Slot, ClaimsJSON: e.claims, Credential: e.signingSum,
		RevocableBy: []rotation.ID{e.signingSum, e.jti, e.kid, key.key.ID(), key.name},
	})
}
