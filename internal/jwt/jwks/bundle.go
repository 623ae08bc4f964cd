package jwks

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
)

// useJWTSVID is the "use" of the keys of JWT-SVIDs (JWT-SVID section 6.1.2).
const useJWTSVID = "jwt-svid"

var errNotForSVIDs = errors.New("a key for another algorithm than RS, PS or ES, with which JWT-SVIDs are signed; give the JWT keys of the trust domain")

// bundle returns the members of the bundle of the trust domain. It is top itself, unless
// top has the form of the file that spiffe-helper writes (jwt_bundle_file_name): there the
// name of each trust domain is a member with the bundle in base64.
func (p *parser) bundle(top map[string]json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	var encoded string
	if raw, has := top[p.o.TrustDomain]; has && json.Unmarshal(raw, &encoded) == nil {
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			p.fail("the bundle of %s is not base64; spiffe-helper writes the base64 of a JWKS", p.o.TrustDomain)
			return nil, false
		}
		return p.object(text)
	}
	_, isSet := top["keys"]
	_, isKey := top["kty"]
	if !isSet && !isKey {
		p.fail("no bundle of the trust domain %s, and no JWKS; correct the trust domain, or have its bundle put there", p.o.TrustDomain)
		return nil, false
	}
	return top, true
}

// isForSVIDs reports whether a key of a bundle may verify JWT-SVIDs. Consumers ignore keys
// of other uses and of unknown types (SPIFFE Trust Domain and Bundle section 4.1.3). The
// keys of the Workload API have no use, and those of Dapr's Sentry are for sig. isForSVIDs
// also returns true if the key is malformed.
func isForSVIDs(key map[string]json.RawMessage) bool {
	isOneOf := func(member string, values ...string) bool {
		var text string
		return json.Unmarshal(key[member], &text) != nil || slices.Contains(values, text)
	}
	return isOneOf("use", "", "sig", useJWTSVID) && isOneOf("kty", "RSA", "EC")
}
