package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Field is one place where a token may stand: an HTTP header field or a gRPC
// metadata key.
type Field struct {
	Name   string // lower-case; an adapter may respell it once for its lookups
	Bearer bool   // the value is "Bearer TOKEN" (RFC 6750 section 2.1), not the bare token
}

// Fields returns the fields that names asks for, in order; no names means
// [DefaultHeaders]. Authorization is always read with the Bearer scheme, any
// other field bare. An error tells every unusable name by its index alone:
// whoever pasted a whole header line here must not find the token in a log.
func Fields(names []string) ([]Field, error) {
	if len(names) == 0 {
		names = DefaultHeaders()
	}
	fields := make([]Field, 0, len(names))
	seen := make(map[string]bool, len(names))
	var errs []error
	for i, name := range names {
		f, fault := newField(name)
		if fault == "" && seen[f.Name] {
			fault = "is listed twice"
		}
		if fault != "" {
			errs = append(errs, fmt.Errorf("Headers[%d] %s", i, fault))
		}
		seen[f.Name] = true
		fields = append(fields, f)
	}
	return fields, errors.Join(errs...)
}

// OutgoingField returns the field that a token is sent in; "" means
// [DaprHeader]. The error does not quote name, for the reason that [Fields]
// has.
func OutgoingField(name string) (Field, error) {
	if name == "" {
		name = DaprHeader
	}
	f, fault := newField(name)
	if fault != "" {
		return Field{}, errors.New("Header " + fault)
	}
	return f, nil
}

// newField returns the field called name, and what is wrong with the name.
func newField(name string) (f Field, fault string) {
	lower := strings.ToLower(name)
	switch {
	case !IsToken(name):
		fault = "is not a field name (RFC 9110 section 5.1)"
	case framing(lower):
		fault = "belongs to the transport and cannot carry a token"
	}
	return Field{Name: lower, Bearer: lower == Authorization}, fault
}

// Value returns what f holds when it carries token.
func (f *Field) Value(token string) string {
	if f.Bearer {
		return "Bearer " + token
	}
	return token
}

// framing reports whether servers keep the field for themselves: it never
// reaches an application, or the message breaks when it is removed.
func framing(lower string) bool {
	switch lower {
	case "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// Token returns the token that stands in f, given all of its values; f is present
// where there is one or more. A field that is present decides, even when it is empty:
// then Token returns "", as it does for Authorization with another scheme.
// A field sent twice gives [verify.Malformed]: which of the two a proxy before
// us looked at is anyone's guess.
func (f *Field) Token(values []string) string {
	if f.Bearer || len(values) != 1 {
		return f.special(values)
	}
	return values[0] // in line with the caller, since this is what most requests have
}

// special is Token of what few requests have. In line it would keep Token from being so.
//
//go:noinline
func (f *Field) special(values []string) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		return verify.Malformed
	}
	return Bearer(values[0])
}

// IsToken reports whether s is a token in the sense of RFC 9110 section 5.6.2,
// the grammar of methods and field names.
func IsToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
