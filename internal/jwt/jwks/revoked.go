package jwks

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// identities parses the lines of the keys revoked, retired and unrevoked.
func (p *parser) identities(text []byte, into *[]rotation.ID) {
	text = bytes.TrimPrefix(text, []byte(bom))
	for line := range bytes.Lines(text) {
		p.line++
		said := strings.Trim(string(line), white)
		if said == "" || said[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(said, p.key); ok && strings.IndexAny(rest, white) == 0 { // accept the form of a token file, too
			said = strings.TrimLeft(rest, white)
		}
		id, ok := identity(said)
		switch {
		case p.key == KeyRetired && (!ok || strings.ContainsAny(said, white)):
			p.fail("a retirement is the thumbprint of a key in 64 hex digits or 43 of base64url; this one is not")
		case !ok:
			p.fail("a revocation is a thumbprint or digest in 64 hex digits or 43 of base64url, kid NAME or jti ID; this one is not")
		default:
			*into = append(*into, id)
		}
	}
	p.line = 0
}

func identity(said string) (id rotation.ID, ok bool) {
	// A kid or jti may contain spaces: it is all text after the first white space.
	if i := strings.IndexAny(said, white); i >= 0 {
		rest := strings.Trim(said[i:], white)
		switch said[:i] {
		case "kid":
			return verify.RevokedKeyID(rest), true
		case "jti":
			return verify.RevokedTokenID(rest), true
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
