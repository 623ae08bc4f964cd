package jwks

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// json takes a JWKS or a JWK.
func (p *parser) json(text []byte, slot rotation.Slot, f form) {
	top, ok := p.object(text)
	if !ok {
		return
	}
	set, isSet := top["keys"]
	_, isKey := top["kty"]
	switch {
	case isSet && isKey:
		p.fault(`an object with both "keys" and "kty"; a JWKS has the one, a JWK the other`)
	case isSet && f == oneKey:
		p.fault("a set of keys, where one key stands; put it under %s", KeyJWKS)
	case isSet:
		p.set(set)
	case p.o.Remote:
		p.fault(`no JWKS: the object has no "keys"; give the address of the key set (jwks_uri)`)
	case !isKey:
		p.fault(`neither a JWKS nor a JWK: the object has neither "keys" nor "kty"`)
	default:
		k, err := p.jwk(top)
		if err == nil {
			err = p.declare(k, slot, "", false)
		}
		if err != nil {
			p.fault("%v", err)
		}
	}
}

// set takes the keys of a JWKS.
func (p *parser) set(raw json.RawMessage) {
	var keys []json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		p.fault(`"keys" is no array; list the keys there`)
		return
	}
	if len(keys) > maxKeys {
		p.fault("more than %d keys; a source has at most so many", maxKeys)
		return
	}
	var first error
	for i, raw := range keys {
		place := fmt.Sprintf("keys[%d]", i)
		var k verify.Key
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
			p.fault("%s: %v", place, err)
		}
	}
	switch {
	case len(p.got.Decls) > 0:
	case len(p.got.Skipped) > 0:
		p.fault("none of its %d keys verifies signatures here; of the first: %v", len(keys), first)
	default:
		p.fault("a key set without keys; nothing would be accepted")
	}
}

// What a JWK can be wrong in. Texts are constants.
var (
	errKty      = errors.New("its kty is none of RSA, EC, OKP and oct")
	errCrv      = errors.New("its crv is none that its kty has here: EC has P-256, P-384 and P-521, OKP has Ed25519")
	errPrivate  = errors.New("a private key, which signs; give the public members alone, without d, p, q, dp, dq, qi and oth")
	errUse      = errors.New("its use is not sig, so it does not verify signatures; leave the key out")
	errOps      = errors.New("its key_ops is no list, names an operation twice or does not hold verify; mend it, or leave the key out")
	errText     = errors.New("a member that must be text is not")
	errKid      = errors.New("its kid is empty or over 1024 bytes; leave it out, or give a shorter one")
	errPublic   = errors.New("a secret, and whoever reads the document could sign with it; never publish one")
	errMaterial = errors.New("its members are no key; RSA has n and e, EC has a point x and y on its curve, OKP has x, oct has k")
	errSpelling = errors.New("its members are not in their one spelling: base64url without padding (RFC 7515 section 2), numbers without leading zeros, coordinates in full length (RFC 7518 section 6)")
)

// jwk returns the key that a JWK is. The library that makes the material of its
// members is lenient: it skips padding, cuts off what is too long for a number
// and passes over private members. So everything is checked around it.
func (p *parser) jwk(members map[string]json.RawMessage) (verify.Key, error) {
	text := make(map[string]string)
	for _, m := range []string{"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e", "k"} {
		raw, there := members[m]
		if !there {
			continue
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || raw[0] != '"' {
			return verify.Key{}, errText
		}
		text[m] = s
	}
	if err := p.purpose(members, text); err != nil {
		return verify.Key{}, err
	}
	m := jwkset.JWKMarshal{
		KTY: jwkset.KTY(text["kty"]), CRV: jwkset.CRV(text["crv"]),
		X: text["x"], Y: text["y"], N: text["n"], E: text["e"], K: text["k"],
	}
	var canonical string // RFC 7638 section 3.2
	switch m.KTY {
	case jwkset.KtyRSA:
		m.CRV = ""
		canonical = `{"e":"` + m.E + `","kty":"RSA","n":"` + m.N + `"}`
	case jwkset.KtyEC:
		if m.CRV != jwkset.CrvP256 && m.CRV != jwkset.CrvP384 && m.CRV != jwkset.CrvP521 {
			return verify.Key{}, errCrv
		}
		canonical = `{"crv":"` + text["crv"] + `","kty":"EC","x":"` + m.X + `","y":"` + m.Y + `"}`
	case jwkset.KtyOKP:
		if m.CRV != jwkset.CrvEd25519 {
			return verify.Key{}, errCrv
		}
		canonical = `{"crv":"Ed25519","kty":"OKP","x":"` + m.X + `"}`
	case jwkset.KtyOct:
		m.CRV = ""
		canonical = `{"k":"` + m.K + `","kty":"oct"}`
	default:
		return verify.Key{}, errKty
	}
	secret := m.KTY == jwkset.KtyOct
	if secret && p.o.Remote {
		return verify.Key{}, errPublic
	}
	made, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: secret}, jwkset.JWKValidateOptions{})
	if err != nil {
		return verify.Key{}, errMaterial // its own words may quote
	}
	alg, named := text["alg"]
	if !named {
		alg = p.o.Algorithm
	} else if alg == "" {
		return verify.Key{}, errors.New("its alg is empty; leave it out, or name one")
	}
	k, err := verify.NewKey(verify.KeyConfig{KeyID: text["kid"], Algorithm: alg, Material: made.Key()})
	if err != nil {
		return verify.Key{}, err
	}
	if k.ID() != sha256.Sum256([]byte(canonical)) {
		return verify.Key{}, errSpelling
	}
	return k, nil
}

// purpose holds a JWK to being for verifying signatures.
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
