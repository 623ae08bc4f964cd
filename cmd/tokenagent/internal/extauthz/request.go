package extauthz

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// request puts what Envoy tells of a request into the form that a Guard reads.
// Method and path stay out: nothing is exempt here, so they decide nothing.
func request(ctx context.Context, a *authv3.AttributeContext) *http.Request {
	r := http.Request{
		URL:        &url.URL{},
		Header:     header(a.GetRequest().GetHttp()),
		RemoteAddr: remote(a.GetSource().GetAddress()),
	}
	return r.WithContext(ctx)
}

// header gathers the request's headers from both forms that Envoy has. In
// header_map (with encode_raw_headers) a header that came twice stands twice,
// and the Guard refuses it. In headers, the default, Envoy has joined the values
// with a comma: what comes of two tokens is no token, and refused as well. A
// name that stands in both forms, or in two spellings, came twice.
func header(r *authv3.AttributeContext_HttpRequest) http.Header {
	raw := r.GetHeaderMap().GetHeaders()
	h := make(http.Header, len(r.GetHeaders())+len(raw))
	values := make([]string, 0, len(r.GetHeaders())+len(raw)) // one backing for most of them
	add := func(name, value string) {
		key := http.CanonicalHeaderKey(name)
		if old, again := h[key]; again {
			h[key] = append(old, value) // copies: cap is 1
			return
		}
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	for name, value := range r.GetHeaders() {
		add(name, value)
	}
	for _, f := range raw {
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

// remote returns the client's address as host:port, and "" for a pipe.
func remote(a *corev3.Address) string {
	s := a.GetSocketAddress()
	if s == nil {
		return ""
	}
	return net.JoinHostPort(s.GetAddress(), strconv.FormatUint(uint64(s.GetPortValue()), 10))
}
