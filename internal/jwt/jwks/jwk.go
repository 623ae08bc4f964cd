package jwks

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// json parses a JWKS or a JWK.
func (p *parser) json(text []byte, slot rotation.Slot, f form) {
	top, ok := p.object(text)
	if !ok {
		return
	}
	if p.o.TrustDomain != "" {
		if top, ok = p.bundle(top); !ok {
			return
		}
	}
	set, isSet := top["keys"]
	_, isKey := top["kty"]
	switch {
	case isSet && isKey:
		p.fail(`an object with both "keys" and "kty"; a JWKS has the one, a JWK the other`)
	case isSet && f == oneKey:
		p.fail("a set of keys in the place of one key; put it under %s", KeyJWKS)
	case isSet:
		p.set(set)
	case p.o.Remote:
		p.fail(`not a JWKS: the object has no "keys"; give the address of the key set (jwks_uri)`)
	case !isKey:
		p.fail(`neither a JWKS nor a JWK: the object has neither "keys" nor "kty"; give the trust domain if spiffe-helper wrote it`)
	default:
		k, err := p.jwk(top)
		p.one(k, err, slot)
	}
}

// object returns the members of a document that is one JSON object. It rejects a repeated
// member name, because parsers disagree about which value counts (RFC 8259 section 4).
// RFC 7517 section 4 permits the rejection.
func (p *parser) object(text []byte) (top map[string]json.RawMessage, ok bool) {
	failAt := func(offset int, problem string) {
		p.line = 1 + bytes.Count(text[:max(offset-1, 0)], []byte("\n"))
		p.fail("%s", problem)
	}
	err := json.Unmarshal(text, &top)
	if syntax, broken := errors.AsType[*json.SyntaxError](err); broken {
		failAt(int(syntax.Offset), "not JSON; a key set is one whole JSON object, with nothing after it")
		return nil, false
	}
	if err != nil || top == nil {
		p.fail("JSON, but not an object; a key set is an object")
		return nil, false
	}
	if !utf8.Valid(text) {
		p.fail("not UTF-8, as JSON must be (RFC 8259 section 8.1)")
		return nil, false
	}
	at, err := strictjson.Check(text)
	switch {
	case errors.Is(err, strictjson.ErrRepeated):
		failAt(at, "an object has a member twice; keep one")
	case err != nil:
		failAt(at, "objects and arrays are nested too deep; a key set is flat")
	}
	return top, err == nil
}

// set parses the keys of a JWKS.
func (p *parser) set(raw json.RawMessage) {
	var keys []json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		p.fail(`"keys" is not an array; list the keys there`)
		return
	}
	if len(keys) > maxKeys {
		p.fail("more than %d keys; remove some", maxKeys)
		return
	}
	for i, raw := range keys {
		var k jwt.Key
		var members map[string]json.RawMessage
		err := json.Unmarshal(raw, &members)
		if err != nil || members == nil {
			err = errors.New("not an object; a key is an object")
		} else if p.o.TrustDomain != "" && !isForSVIDs(members) {
			continue
		} else if k, err = p.jwk(members); err == nil {
			err = p.declare(k, rotation.Listed, true)
		}
		switch {
		case err == nil:
		case p.o.Remote:
			p.got.Skipped = append(p.got.Skipped, fmt.Errorf("%s: keys[%d]: %w", p.place(), i, err))
		default:
			p.fail("keys[%d]: %v", i, err)
		}
	}
	switch {
	case len(p.got.Decls) > 0:
	case len(p.got.Skipped) == 0 && len(keys) > 0: // all of them were ignored
		p.fail("no key for JWT-SVIDs, which has use jwt-svid and kty RSA or EC; switch JWT-SVIDs on where the bundle comes from")
	case len(p.got.Skipped) > 0:
		p.fail("none of its %d keys can verify signatures; the first: %v", len(keys), errors.Unwrap(p.got.Skipped[0]))
	default:
		p.fail("a key set without keys; add one")
	}
}

// Errors of jwk. The texts are constants.
var (
	errKty      = errors.New("its kty is none of RSA, EC, OKP and oct")
	errCrv      = errors.New("its crv does not fit its kty: EC has P-256, P-384 and P-521, OKP has Ed25519")
	errPrivate  = errors.New("a private key, which signs; give only the public members, without d, p, q, dp, dq, qi and oth")
	errUse      = errors.New("its use is not sig, so it does not verify signatures; leave the key out, or give the trust domain if this is a SPIFFE bundle")
	errOps      = errors.New("its key_ops is not a list, or does not contain verify; fix it, or leave the key out")
	errKid      = fmt.Errorf("its kid is over %d bytes; give a shorter one", jwt.MaxKeyID)
	errPublic   = errors.New("a secret: anybody who reads the document could sign with it; remove it, and never use it again")
	errMaterial = errors.New("its members are not a key; RSA has n and e, EC has a point x and y on its curve, OKP has x, oct has k")
	errExponent = errors.New("its e is larger than any RSA exponent in use; make another key")
)

// jwk returns the key of a JWK. It accepts the spellings that issuers use: null or empty
// members, base64 in either alphabet, padding, numbers with leading zeros, and coordinates
// without leading zeros. The thumbprint is that of the key in the spelling of RFC 7638.
func (p *parser) jwk(members map[string]json.RawMessage) (jwt.Key, error) {
	maps.DeleteFunc(members, func(_ string, value json.RawMessage) bool { return isEmpty(value) })
	text := make(map[string]string)
	for _, m := range []string{"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e", "k"} {
		raw, has := members[m]
		if !has {
			continue
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return jwt.Key{}, fmt.Errorf("its %s is not text; put it in quotes, or leave it out", m)
		}
		text[m] = s
	}
	if err := p.checkPurpose(members, text); err != nil {
		return jwt.Key{}, err
	}
	material, err := p.material(text)
	if err != nil {
		return jwt.Key{}, err
	}
	return jwt.NewKey(jwt.KeyConfig{KeyID: text["kid"], Algorithm: cmp.Or(text["alg"], p.o.Algorithm), Material: material})
}

// isEmpty reports whether the value of a member is empty: null, "" or [].
func isEmpty(value json.RawMessage) bool {
	switch v := string(value); v {
	case "null", `""`:
		return true
	default:
		return v[0] == '[' && strings.Trim(v, "[] \t\r\n") == ""
	}
}

// checkPurpose returns an error if a JWK is not a public key for verifying signatures.
func (p *parser) checkPurpose(members map[string]json.RawMessage, text map[string]string) error {
	for _, m := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, has := members[m]; has {
			return errPrivate
		}
	}
	if use, has := text["use"]; has && use != "sig" && (use != useJWTSVID || p.o.TrustDomain == "") {
		return errUse
	}
	if raw, has := members["key_ops"]; has {
		var ops []string
		if err := json.Unmarshal(raw, &ops); err != nil || !slices.Contains(ops, "verify") {
			return errOps
		}
	}
	if len(text["kid"]) > jwt.MaxKeyID {
		return errKid
	}
	return nil
}

// material returns the key for jwt.KeyConfig.Material.
func (p *parser) material(text map[string]string) (any, error) {
	var err error
	read := func(member string) []byte {
		b, e := decode(member, text[member])
		err = cmp.Or(err, e)
		return b
	}
	number := func(member string) *big.Int { return new(big.Int).SetBytes(read(member)) }
	switch text["kty"] {
	case "RSA":
		n, e := number("n"), number("e")
		if err == nil && e.BitLen() > 31 {
			err = errExponent
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, err
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[text["crv"]]
		if curve == nil {
			return nil, errCrv
		}
		x, y := number("x"), number("y")
		if err != nil {
			return nil, err
		}
		size := (curve.Params().BitSize + 7) / 8
		if max(x.BitLen(), y.BitLen()) > 8*size {
			return nil, errMaterial
		}
		point := make([]byte, 1+2*size)
		point[0] = 4 // SEC 1 section 2.3.4: uncompressed
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, errMaterial
		}
		return public, nil
	case "OKP":
		if text["crv"] != "Ed25519" {
			return nil, errCrv
		}
		return ed25519.PublicKey(read("x")), err
	case "oct":
		if p.o.Remote {
			return nil, errPublic
		}
		return read("k"), err
	default:
		return nil, errKty
	}
}

// decode returns the decoded bytes of a member.
func decode(member, text string) ([]byte, error) {
	if text == "" {
		return nil, errMaterial
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "=")))
	if err != nil {
		return nil, fmt.Errorf("its %s is not base64url (RFC 7515 section 2)", member)
	}
	return b, nil
}
