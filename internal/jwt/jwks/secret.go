package jwks

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/placeholder"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// secret parses an HMAC secret in plain text.
func (p *parser) secret(text []byte, slot rotation.Slot) {
	alg := p.o.Algorithm
	err := checkSecret(text)
	if err == nil && alg != "" && !strings.HasPrefix(alg, "HS") {
		// Report the mismatch before the length: the text may be a file of another kind.
		err = fmt.Errorf("text that is neither PEM nor JSON, so an HMAC secret, which does not fit the algorithm %s", alg)
	}
	var k jwt.Key
	if err == nil {
		k, err = jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: bytes.Clone(text)})
	}
	p.one(k, err, slot)
}

// checkSecret returns an error if text is a document and not a secret. Most such documents
// are public, and anybody who knows the secret can sign.
func checkSecret(text []byte) error {
	for _, c := range text {
		if c < 0x21 || c > 0x7E {
			return errors.New("neither JSON, nor PEM, nor an HMAC secret of one word of printable ASCII (0x21 to 0x7E); " +
				"make PEM of a key in another form (openssl pkey -pubin -pubout), and of a secret with other bytes a JWK of kty oct")
		}
	}
	lower := bytes.ToLower(text[:min(len(text), 8)])
	switch {
	case strings.IndexByte(`[<"`, text[0]) >= 0:
		return errors.New("a document, but not a key set; if it is an HMAC secret, put it into a JWK of kty oct")
	case bytes.HasPrefix(lower, []byte("http://")), bytes.HasPrefix(lower, []byte("https://")):
		return errors.New("the address of a key set in place of the set; give it as --jwks-url")
	}
	if what := placeholder.Describe(string(text)); what != "" {
		return fmt.Errorf("it looks like %s; put the key itself there. If it is an HMAC secret, put it into a JWK of kty oct", what)
	}
	first, _, _ := strings.Cut(string(text), ".") // the header, if text is a JWT
	first = strings.TrimRight(first, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if decoded, err := e.DecodeString(first); err == nil && isDocument(decoded) {
			return errors.New("the base64 of a document, or a token, and no secret; decode it (base64 -d), or put BEGIN and END lines around a public key")
		}
	}
	return nil
}

// isDocument reports whether b is a document that people encode in base64.
func isDocument(b []byte) bool {
	b = bytes.TrimLeft(b, white)
	_, pkix := x509.ParsePKIXPublicKey(b)
	_, pkcs1 := x509.ParsePKCS1PublicKey(b)
	_, certificate := x509.ParseCertificate(b)
	return pkix == nil || pkcs1 == nil || certificate == nil ||
		bytes.HasPrefix(b, []byte(pemBegin)) || bytes.HasPrefix(b, []byte("{")) && json.Valid(b)
}
