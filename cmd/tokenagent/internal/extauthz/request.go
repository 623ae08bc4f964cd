package extauthz

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
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

// read returns the request that a describes, with the headers that the Guard reads. It
// leaves out the method and the path, because nothing is exempt here. imitations are the
// names of headers that a server may mistake for one of u.protected.
func (s *Server) read(ctx context.Context, u *Rule, a *authv3.AttributeContext) (_ *http.Request, imitations []string) {
	r := http.Request{URL: s.url, RemoteAddr: remote(a.GetSource().GetAddress())}
	r.Header, imitations = u.headers(a.GetRequest().GetHttp())
	return r.WithContext(ctx), imitations
}

// headers reads both forms in which Envoy sends headers. In header_map (with
// encode_raw_headers) a header that the client sent twice appears twice, and the Guard
// refuses it. In headers, the default, Envoy has joined the values with a comma. Two
// joined tokens are not a token, so they are refused, too. A header in both forms, or in
// two spellings, counts as sent twice.
func (u *Rule) headers(r *authv3.AttributeContext_HttpRequest) (h http.Header, imitations []string) {
	h = make(http.Header, len(u.fields))
	add := func(name, value string) {
		for i := range u.fields {
			// Compare the lengths, too: EqualFold folds some non-ASCII letters to ASCII.
			if f := &u.fields[i]; len(f.name) == len(name) && strings.EqualFold(f.name, name) {
				h[f.key] = append(h[f.key], value)
			}
		}
		if headername.Imitates(name, u.protected) {
			imitations = append(imitations, strings.ToLower(name))
		}
	}
	for name, value := range r.GetHeaders() {
		add(name, value)
	}
	for _, f := range r.GetHeaderMap().GetHeaders() {
		value := f.GetValue()
		if raw := f.GetRawValue(); len(raw) > 0 {
			if value != "" {
				add(f.GetKey(), value) // only one may be set, so two count as sent twice
			}
			value = string(raw)
		}
		add(f.GetKey(), value)
	}
	return h, imitations
}

// remote returns the client's address as host:port, or "" if it is not a socket address.
func remote(a *corev3.Address) string {
	s := a.GetSocketAddress()
	if s == nil {
		return ""
	}
	return net.JoinHostPort(s.GetAddress(), strconv.FormatUint(uint64(s.GetPortValue()), 10))
}
