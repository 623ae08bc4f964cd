package httpauth

import (
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// SubjectHeader is the response header of forward auth, and the request header
// that the proxy adds, in which [Subject] stands.
const SubjectHeader = "X-Tokenagent-Subject"

// MethodHeader stands beside [SubjectHeader] and says what proved the subject:
// [verify.MethodToken] or [verify.MethodJWT]. Without it the sub of a JWT, which its
// issuer chooses, could pass for the name of a token source or client.
const MethodHeader = "X-Tokenagent-Method"

// Subject returns p's subject as a header value: '%' and every byte outside
// 0x21 to 0x7E are percent-encoded (RFC 3986 section 2.1), so that it can hold
// neither a line break nor a blank that someone trims. It is "" for nobody.
func Subject(p *verify.Principal) string {
	s := p.Subject()
	for i := range len(s) {
		if !plain(s[i]) {
			return encode(s, i)
		}
	}
	return s
}

// encode percent-encodes s, of which the first n bytes are plain.
func encode(s string, n int) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 2*(len(s)-n))
	b.WriteString(s[:n])
	for i := n; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&0xF]})
		}
	}
	return b.String()
}

func plain(c byte) bool { return 0x21 <= c && c <= 0x7E && c != '%' }
