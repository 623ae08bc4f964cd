package headername

import (
	"fmt"
	"strings"
)

// The headers that tell who was authenticated. Forward auth and ext_authz set them in their
// answers, and the proxy in the requests that it passes on.
const (
	// Subject holds the subject as [EncodeSubject] returns it.
	Subject = "X-Tokenagent-Subject"

	// Method says what proves the subject: [verify.MethodToken] or [verify.MethodJWT].
	// Without it a JWT's sub, which its issuer chooses, could be taken for the name of
	// a token source or a client.
	Method = "X-Tokenagent-Method"
)

// EncodeSubject returns a subject as a header value: '%' and every byte outside 0x21
// to 0x7E are percent-encoded (RFC 3986 section 2.1), so the value holds no line
// break, and no space that a reader might trim.
func EncodeSubject(subject string) string {
	for i := range len(subject) {
		if !isLiteral(subject[i]) {
			return encode(subject)
		}
	}
	return subject
}

func encode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isLiteral(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isLiteral(c byte) bool { return 0x21 <= c && c <= 0x7E && c != '%' }
