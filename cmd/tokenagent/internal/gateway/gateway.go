// Package gateway holds what the proxy, forward auth and ext_authz share: the
// headers that say who was authenticated, and the verifier that refuses every
// token.
package gateway

import (
	"context"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// The headers that say who was authenticated: in the answers of forward auth and
// ext_authz, and in the requests that the proxy passes on.
const (
	// SubjectHeader holds what [Subject] returns.
	SubjectHeader = "X-Tokenagent-Subject"

	// MethodHeader says what proves the subject: [verify.MethodToken] or
	// [verify.MethodJWT]. Without it a JWT's sub, which its issuer chooses, could be
	// taken for the name of a token source or a client.
	MethodHeader = "X-Tokenagent-Method"
)

// Subject returns p's subject as a header value: '%' and every byte outside 0x21
// to 0x7E are percent-encoded (RFC 3986 section 2.1), so it holds no line break,
// and no space that a reader might trim. It is "" for a nil Principal.
func Subject(p *verify.Principal) string {
	s := p.Subject()
	for i := range len(s) {
		if !isLiteral(s[i]) {
			return encode(s, i)
		}
	}
	return s
}

// encode percent-encodes s. Its first n bytes need no encoding.
func encode(s string, n int) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 2*(len(s)-n))
	b.WriteString(s[:n])
	for i := n; i < len(s); i++ {
		if c := s[i]; isLiteral(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&0xF]})
		}
	}
	return b.String()
}

func isLiteral(c byte) bool { return 0x21 <= c && c <= 0x7E && c != '%' }

// DenyAll returns a Verifier that refuses every token as invalid, for requests that
// belong to no realm.
func DenyAll() verify.Verifier {
	return verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
		return nil, verify.ErrInvalidToken
	})
}
