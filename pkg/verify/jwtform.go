package verify

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/strictjson"
)

// A jws is a signed token taken apart (RFC 7515 section 7.1). Nothing in it has
// been verified.
type jws struct {
	alg, kid, typ string
	named         bool // it has a kid
	signingInput  string
	signature     []byte
	claims        map[string]any
}

// parseJWS takes a token apart, strictly: of all that means the same only one
// spelling is taken, since what is read differently elsewhere, or could be sent
// again in another form, is no use to anybody honest.
func parseJWS(token string) (*jws, error) {
	for i := range len(token) {
		// encoding/base64 skips line breaks, even where it is strict.
		if c := token[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return nil, errForm
		}
	}
	head, rest, ok := strings.Cut(token, ".")
	body, sig, also := strings.Cut(rest, ".")
	if !ok || !also || strings.Contains(sig, ".") {
		return nil, errForm
	}
	j := &jws{signingInput: token[:len(head)+1+len(body)]}
	var err error
	if j.signature, err = strictBase64.DecodeString(sig); err != nil || len(j.signature) == 0 {
		return nil, errForm
	}
	header, err := object(head)
	if err != nil {
		return nil, err
	}
	if _, has := header["crit"]; has {
		return nil, errCritical // RFC 7515 section 4.1.11: we understand no extension
	}
	if j.alg, ok = header["alg"].(string); !ok || j.alg == "" {
		return nil, errForm
	}
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
	j.claims, err = object(body)
	return j, err
}

// maxKeyID bounds a kid, in bytes.
const maxKeyID = 1024

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// object decodes one segment that holds a JSON object. One that names a member
// twice is refused: which of the two counts, parsers do not agree on (RFC 7519
// section 4).
func object(segment string) (map[string]any, error) {
	text, err := strictBase64.DecodeString(segment)
	if err != nil {
		return nil, errForm
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil || m == nil {
		return nil, errForm
	}
	switch fault, _ := strictjson.Check(text); fault {
	case strictjson.Twice:
		return nil, errTwice
	case strictjson.Deep:
		return nil, errForm
	default:
		return m, nil
	}
}
