package jwks

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// revocations takes the lines of the key revoked.
func (p *parser) revocations(text []byte) {
	text = bytes.TrimPrefix(text, []byte(bom))
	for line := range bytes.Lines(text) {
		p.line++
		said := strings.Trim(string(line), white)
		if said == "" || said[0] == '#' {
			continue
		}
		if id, ok := revocation(said); ok {
			p.got.Revoked = append(p.got.Revoked, id)
		} else {
			p.fault("a revocation is a thumbprint or digest in 64 hex digits or 43 of base64url, kid NAME or jti ID; this one is not")
		}
	}
	p.line = 0
}

func revocation(said string) (id rotation.ID, ok bool) {
	// A kid or jti may have spaces in it: it is what stands after the first.
	if i := strings.IndexAny(said, white); i >= 0 {
		rest := strings.Trim(said[i:], white)
		switch said[:i] {
		case "kid":
			return verify.RevokedKeyID(rest), true
		case "jti":
			return verify.RevokedTokenID(rest), true
		case "revoked": // a token file's form, understood here too
			return revocation(rest)
		}
		return id, false
	}
	var b []byte
	var err error
	switch len(said) {
	case hex.EncodedLen(len(id)):
		b, err = hex.DecodeString(said)
	case base64.RawURLEncoding.EncodedLen(len(id)):
		b, err = base64.RawURLEncoding.Strict().DecodeString(said)
	default:
		return id, false
	}
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return rotation.ID(b), true
}
