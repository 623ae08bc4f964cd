package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	// daprHeader is the HTTP header and gRPC metadata key in which daprd sends
	// APP_API_TOKEN (https://docs.dapr.io/operations/security/app-api-token/).
	daprHeader = "dapr-api-token"

	// authorization is the header of RFC 9110 section 11.6.2, in lower case as in
	// gRPC metadata.
	authorization = "authorization"
)

// A Field is a header field, or a gRPC metadata key, that may carry a token.
type Field struct {
	Name   string // in lower case; httpauth changes it to the canonical form
	Bearer bool   // the value is "Bearer TOKEN" (RFC 6750 section 2.1), not TOKEN alone
}

// ParseFields returns the fields called names, in order. Without names it returns
// dapr-api-token and authorization. authorization uses the Bearer scheme, any
// other field holds the token alone. The error lists every unusable name by its
// index and quotes none, because someone may have pasted a whole header line with
// its token.
func ParseFields(names []string) ([]Field, error) {
	if len(names) == 0 {
		names = []string{daprHeader, authorization}
	}
	fields := make([]Field, 0, len(names))
	seen := make(map[string]bool, len(names))
	var errs []error
	for i, name := range names {
		f, problem := parseField(name)
		if problem == "" && seen[f.Name] {
			problem = "is listed twice"
		}
		if problem != "" {
			errs = append(errs, fmt.Errorf("Headers[%d] %s", i, problem))
		}
		seen[f.Name] = true
		fields = append(fields, f)
	}
	return fields, errors.Join(errs...)
}

// parseField returns the field called name. problem says what is wrong with the
// name; it is "" for a valid name.
func parseField(name string) (f Field, problem string) {
	lower := strings.ToLower(name)
	switch {
	case !IsToken(name):
		problem = "is not a field name (RFC 9110 section 5.1)"
	case isFraming(lower):
		problem = "belongs to the transport and cannot carry a token"
	}
	return Field{Name: lower, Bearer: lower == authorization}, problem
}

// isFraming reports whether the HTTP server itself uses the field: the field does
// not reach the application, or removing it breaks the message.
func isFraming(lower string) bool {
	switch lower {
	case "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// GRPCReserves reports whether gRPC reserves the metadata key: it begins with "grpc-",
// or ends in "-bin" and holds binary data. Case does not matter.
func GRPCReserves(key string) bool {
	key = strings.ToLower(key)
	return strings.HasPrefix(key, "grpc-") || strings.HasSuffix(key, "-bin")
}

// Value returns the value of the field that carries token.
func (f *Field) Value(token string) string {
	if f.Bearer {
		return "Bearer " + token
	}
	return token
}

// Token returns the token in values, the values of a field that is present. It
// returns "" if the value is empty, or if Authorization uses another scheme. It
// returns [verify.Malformed] for a field sent twice, because a proxy in front may
// have checked either value.
func (f *Field) Token(values []string) string {
	switch {
	case len(values) != 1:
		return verify.Malformed
	case f.Bearer:
		return bearer(values[0])
	}
	return values[0]
}

// bearer returns the token of an Authorization value with the Bearer scheme
// (RFC 6750 section 2.1; RFC 9110 section 11.1 makes the scheme case-insensitive).
// It returns "" for any other value.
func bearer(value string) string {
	const scheme = "bearer"
	if len(value) <= len(scheme) || value[len(scheme)] != ' ' || !strings.EqualFold(value[:len(scheme)], scheme) {
		return ""
	}
	return strings.Trim(value[len(scheme)+1:], " ")
}

// IsToken reports whether s is a token as RFC 9110 section 5.6.2 defines it: the
// syntax of methods and field names.
func IsToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
