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

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// json parses a JWKS or a JWK.
func (p *parser) json(text []byte, slot rotation.Slot, f form) {
	top, ok := p.object(text)
	if !ok {
		return
	}
	set, isSet := top["keys"]
	_, isKey := top["kty"]
	switch {
	case isSet && isKey:
		p.fail(`an object with both "keys" and "kty"; a JWKS has the one, a JWK the other`)
	case isSet && f == oneKey:
		p.fail("a set of keys, where one key stands; put it under %s", KeyJWKS)
	case isSet:
		p.set(set)
	case p.o.Remote:
		p.fail(`no JWKS: the object has no "keys"; give the address of the key set (jwks_uri)`)
	case !isKey:
		p.fail(`neither a JWKS nor a JWK: the object has neither "keys" nor "kty"`)
	default:
		k, err := p.jwk(top)
		if err == nil {
			err = p.declare(k, slot, "", false)
		}
		if err != nil {
			p.fail("%v", err)
		}
	}
}

// set parses the keys of a JWKS.
func (p *parser) set(raw json.RawMessage) {
	var keys []json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		p.fail(`"keys" is no array; list the keys there`)
		return
	}
	if len(keys) > maxKeys {
		p.fail("more than %d keys; a source has at most so many", maxKeys)
		return
	}
	var first error
	for i, raw := range keys {
		place := fmt.Sprintf("keys[%d]", i)
		var k jwt.Key
		var members map[string]json.RawMessage
		err := json.Unmarshal(raw, &members)
		if err != nil || members == nil {
			err = errors.New("no object; a key is one")
		} else if k, err = p.jwk(members); err == nil {
			err = p.declare(k, rotation.Listed, place, true)
		}
		switch {
		case err == nil:
		case p.o.Remote:
			first = cmp.Or(first, err)
			p.got.Skipped = append(p.got.Skipped, p.placed(place+": "+err.Error()))
		default:
			p.fail("%s: %v", place, err)
		}
	}
	switch {
	case len(p.got.Decls) > 0:
	case len(p.got.Skipped) > 0:
		p.fail("none of its %d keys verifies signatures here; of the first: %v", len(keys), first)
	default:
		p.fail("a key set without keys; nothing would be accepted")
	}
}

// Errors of jwk. The texts are constants.
var (
	errKty      = errors.New("its kty is none of RSA, EC, OKP and oct")
	errCrv      = errors.New("its crv is none that its kty has here: EC has P-256, P-384 and P-521, OKP has Ed25519")
	errPrivate  = errors.New("a private key, which signs; give the public members alone, without d, p, q, dp, dq, qi and oth")
	errUse      = errors.New("its use is not sig, so it does not verify signatures; leave the key out")
	errOps      = errors.New("its key_ops is no list, names an operation twice or does not hold verify; fix it, or leave the key out")
	errKid      = errors.New("its kid is empty or over 1024 bytes; leave it out, or give a shorter one")
	errPublic   = errors.New("a secret, and whoever reads the document could sign with it; never publish one")
	errMaterial = errors.New("its members are no key; RSA has n and e, EC has a point x and y on its curve, OKP has x, oct has k")
)

// jwk returns the key of a JWK. A JWK from a server may have the spellings that issuers
// use: null or empty members, base64 in either alphabet, padding, numbers with leading
// zeros, and coordinates without leading zeros. Its thumbprint is that of the key in the
// spelling of RFC 7638.
func (p *parser) jwk(members map[string]json.RawMessage) (jwt.Key, error) {
	if p.o.Remote {
		maps.DeleteFunc(members, func(_ string, value json.RawMessage) bool { return isEmpty(value) })
	}
	text := make(map[string]string)
	for _, m := range []string{"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e", "k"} {
		raw, there := members[m]
		if !there {
			continue
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || raw[0] != '"' {
			return jwt.Key{}, fmt.Errorf("its %s is not text; put it in quotes, or leave it out", m)
		}
		text[m] = s
	}
	if err := p.purpose(members, text); err != nil {
		return jwt.Key{}, err
	}
	material, canonical, err := p.material(text)
	if err != nil {
		return jwt.Key{}, err
	}
	alg, named := text["alg"]
	if !named {
		alg = p.o.Algorithm
	} else if alg == "" {
		return jwt.Key{}, errors.New("its alg is empty; leave it out, or name one")
	}
	k, err := jwt.NewKey(jwt.KeyConfig{KeyID: text["kid"], Algorithm: alg, Material: material})
	if err != nil {
		return jwt.Key{}, err
	}
	if !p.o.Remote {
		for _, m := range []string{"x", "y", "n", "e", "k"} {
			if want, there := canonical[m]; there && text[m] != want {
				return jwt.Key{}, spelling(m, text[m])
			}
		}
	}
	return k, nil
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

// material returns the key for jwt.KeyConfig.Material, and the canonical spelling of its
// members (RFC 7518 section 6, RFC 8037 section 2).
func (p *parser) material(text map[string]string) (material any, canonical map[string]string, err error) {
	var b [2][]byte
	read := func(members ...string) bool {
		canonical = make(map[string]string)
		for i, m := range members {
			if b[i], err = p.decode(m, text[m]); err != nil {
				return false
			}
			canonical[m] = base64.RawURLEncoding.EncodeToString(b[i])
		}
		return true
	}
	switch text["kty"] {
	case "RSA":
		if !read("n", "e") {
			return nil, nil, err
		}
		n, e := number(b[0]), number(b[1])
		exponent := new(big.Int).SetBytes(e)
		if exponent.BitLen() > 31 {
			return nil, nil, errors.New("its e is larger than any RSA exponent in use; make another key")
		}
		canonical["n"], canonical["e"] = base64.RawURLEncoding.EncodeToString(n), base64.RawURLEncoding.EncodeToString(e)
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, canonical, nil
	case "EC":
		curve, ok := curves[text["crv"]]
		if !ok {
			return nil, nil, errCrv
		}
		if !read("x", "y") {
			return nil, nil, err
		}
		size := (curve.Params().BitSize + 7) / 8
		point := make([]byte, 1+2*size)
		point[0] = 4 // SEC 1 section 2.3.4: uncompressed
		for i, m := range []string{"x", "y"} {
			coordinate := number(b[i])
			if len(coordinate) > size {
				return nil, nil, errMaterial
			}
			full := point[1+i*size:][:size]
			copy(full[size-len(coordinate):], coordinate)
			canonical[m] = base64.RawURLEncoding.EncodeToString(full)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, nil, errMaterial
		}
		return public, canonical, nil
	case "OKP":
		if text["crv"] != "Ed25519" {
			return nil, nil, errCrv
		}
		if !read("x") {
			return nil, nil, err
		}
		return ed25519.PublicKey(b[0]), canonical, nil
	case "oct":
		if p.o.Remote {
			return nil, nil, errPublic
		}
		if !read("k") {
			return nil, nil, err
		}
		return b[0], canonical, nil
	default:
		return nil, nil, errKty
	}
}

var curves = map[string]elliptic.Curve{ //nolint:gochecknoglobals // a constant
	"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521(),
}

// number returns the bytes of a number without leading zeros.
func number(b []byte) []byte { return bytes.TrimLeft(b, "\x00") }

var standardAlphabet = strings.NewReplacer("+", "-", "/", "_") //nolint:gochecknoglobals // a constant

// decode returns the decoded bytes of a member.
func (p *parser) decode(member, text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, errMaterial
	case p.o.Remote:
		text = standardAlphabet.Replace(strings.TrimRight(text, "="))
	case strings.ContainsAny(text, "=+/"):
		return nil, spelling(member, text)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("its %s is not base64url (RFC 7515 section 2)", member)
	}
	return b, nil
}

// spelling returns the error of a member that decodes, but does not have the spelling of
// the RFCs.
func spelling(member, text string) error {
	b, _ := base64.RawURLEncoding.DecodeString(text)
	switch {
	case strings.Contains(text, "="):
		return fmt.Errorf("its %s has padding; take the = away (RFC 7515 section 2)", member)
	case strings.ContainsAny(text, "+/"):
		return fmt.Errorf("its %s is base64 with + or /; write - and _ (base64url, RFC 7515 section 2)", member)
	case strings.ContainsAny(text, "\r\n"):
		return fmt.Errorf("its %s has line breaks; take them away", member)
	case base64.RawURLEncoding.EncodeToString(b) != text:
		return fmt.Errorf("its %s does not end as base64url does (RFC 4648 section 3.5); encode it again", member)
	case len(b) > 0 && b[0] == 0:
		return fmt.Errorf("its %s has leading zeros; encode the number without them (RFC 7518 section 6)", member)
	default:
		return fmt.Errorf("its %s is too short; encode the coordinate in full length (RFC 7518 section 6.2.1)", member)
	}
}

// purpose returns an error if a JWK is not a public key for verifying signatures.
func (p *parser) purpose(members map[string]json.RawMessage, text map[string]string) error {
	for _, m := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, there := members[m]; there {
			return errPrivate
		}
	}
	if use, there := text["use"]; there && use != "sig" {
		return errUse
	}
	if raw, there := members["key_ops"]; there {
		var ops []string
		if err := json.Unmarshal(raw, &ops); err != nil || !slices.Contains(ops, "verify") {
			return errOps
		}
		slices.Sort(ops)
		if len(slices.Compact(slices.Clone(ops))) != len(ops) {
			return errOps // RFC 7517 section 4.3
		}
	}
	if kid, there := text["kid"]; there && (kid == "" || len(kid) > maxKeyID) {
		return errKid
	}
	return nil
}
