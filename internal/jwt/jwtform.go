package jwt

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// A jws is a parsed signed token (RFC 7515 section 7.1). Nothing in it has been verified.
type jws struct {
	alg, kid, typ string
	named         bool // whether the token has a kid
	signingInput  string
	signature     []byte
	body          string // the claims, still encoded
}

// parseJWS splits a token and decodes its header, which is short. The claims are decoded
// only after the signature is verified. parseJWS is strict: it accepts only one spelling
// of each token, so that other parsers read the token in the same way, and nobody can
// present it in another form.
func parseJWS(token string) (*jws, error) {
	for i := range len(token) {
		// encoding/base64 skips line breaks, even in strict mode.
		if c := token[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return nil, errForm
		}
	}
	head, rest, ok := strings.Cut(token, ".")
	body, sig, also := strings.Cut(rest, ".")
	if !ok || !also || body == "" || strings.Contains(sig, ".") {
		return nil, errForm
	}
	if len(head) > maxHeader {
		return nil, errHeader
	}
	j := &jws{signingInput: token[:len(head)+1+len(body)], body: body}
	var err error
	if j.signature, err = strictBase64.DecodeString(sig); err != nil || len(j.signature) == 0 {
		return nil, errForm
	}
	header, _, err := object(head)
	if err != nil {
		return nil, err
	}
	if _, has := header["crit"]; has {
		return nil, errCritical // RFC 7515 section 4.1.11: this package supports no extension
	}
	if j.alg, ok = header["alg"].(string); !ok || j.alg == "" {
		return nil, errForm
	}
	j.alg = canonicalAlgorithm(j.alg)
	if kid, has := header["kid"]; has {
		if j.kid, ok = kid.(string); !ok || len(j.kid) > maxKeyID {
			return nil, errForm
		}
		j.named = true
	}
	if typ, has := header["typ"]; has {
		if j.typ, ok = typ.(string); !ok {
			return nil, errForm
		}
	}
	return j, nil
}

// maxHeader bounds the encoded header, in bytes, which is decoded before the signature is
// checked. A header with certificates (x5c) may be longer; this package does not use
// them.
const maxHeader = 4 << 10

// maxKeyID bounds a kid, in bytes.
const maxKeyID = 1024

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// object decodes one segment that holds a JSON object, and returns the object and its
// text. object rejects a repeated member name, because parsers disagree about which value
// counts (RFC 7519 section 4).
func object(segment string) (map[string]any, []byte, error) {
	text, err := strictBase64.DecodeString(segment)
	if err != nil {
		return nil, nil, errForm
	}
	var m map[string]any
	if !utf8.Valid(text) || json.Unmarshal(text, &m) != nil || m == nil {
		return nil, nil, errForm
	}
	switch fault, _ := strictjson.Check(text); fault {
	case strictjson.Twice:
		return nil, nil, errTwice
	case strictjson.Deep:
		return nil, nil, errForm
	default:
		return m, text, nil
	}
}
