package extauthz

import (
	"context"
	"iter"
	"net"
	"net/http"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// A field is a header that the Guard reads.
type field struct {
	key  string // as a key of http.Header
	name string // as Envoy spells it
}

func fields(keys []string) []field {
	f := make([]field, len(keys))
	for i, key := range keys {
		f[i] = field{key, strings.ToLower(key)}
	}
	return f
}

// request puts what Envoy tells of a request into the form that a Guard reads:
// the fields that it looks at. Method and path stay out: nothing is exempt here,
// so they decide nothing.
func (s *Server) request(ctx context.Context, u *Rule, a *authv3.AttributeContext) *http.Request {
	r := http.Request{
		URL:        s.nowhere,
		Header:     u.header(a.GetRequest().GetHttp()),
		RemoteAddr: remote(a.GetSource().GetAddress()),
	}
	return r.WithContext(ctx)
}

// header gathers the fields from both forms that Envoy has. In header_map (with
// encode_raw_headers) a header that came twice stands twice, and the Guard
// refuses it. In headers, the default, Envoy has joined the values with a comma:
// what comes of two tokens is no token, and refused as well. A name that stands
// in both forms, or in two spellings, came twice.
func (u *Rule) header(r *authv3.AttributeContext_HttpRequest) http.Header {
	h := make(http.Header, len(u.fields))
	add := func(name, value string) {
		for i := range u.fields {
			// The lengths as well, because EqualFold knows letters beyond ASCII.
			if f := &u.fields[i]; len(f.name) == len(name) && strings.EqualFold(f.name, name) {
				h[f.key] = append(h[f.key], value)
			}
		}
	}
	for name, value := range r.GetHeaders() {
		add(name, value)
	}
	for _, f := range r.GetHeaderMap().GetHeaders() {
		value := f.GetValue()
		if b := f.GetRawValue(); len(b) > 0 {
			if value != "" {
				add(f.GetKey(), value) // only one may be set, so these are two
			}
			value = string(b)
		}
		add(f.GetKey(), value)
	}
	return h
}

// names yields the name of each header, in both forms that Envoy has.
func names(r *authv3.AttributeContext_HttpRequest) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range r.GetHeaders() {
			if !yield(name) {
				return
			}
		}
		for _, f := range r.GetHeaderMap().GetHeaders() {
			if !yield(f.GetKey()) {
				return
			}
		}
	}
}

// remote returns the client's address as host:port, and "" for a pipe.
func remote(a *corev3.Address) string {
	s := a.GetSocketAddress()
	if s == nil {
		return ""
	}
	return net.JoinHostPort(s.GetAddress(), strconv.FormatUint(uint64(s.GetPortValue()), 10))
}
