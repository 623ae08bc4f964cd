package httpauth

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// TransportOptions says where a token may be sent to, and how. Hosts has no
// default; the rest may be left zero.
type TransportOptions struct {
	// Hosts are the only ones that are sent the token, each as "host" or
	// "host:port". A request's URL must name exactly one of them: names are
	// compared without case and not resolved, there are no patterns, and
	// without a port the scheme's default one is meant. An IPv6 address stands
	// in brackets, an internationalised name in its ASCII form (xn--), here and
	// in URLs. None is an error, since it must not mean 'any host'.
	Hosts []string

	// Header is the field that carries the token. Authorization is sent with
	// the Bearer scheme, any other field as the bare token. "" means
	// dapr-api-token.
	Header string

	// AllowPlaintext lets the token go over plain HTTP to hosts that are not
	// loopback, and so to everybody on the way, a proxy (HTTP_PROXY) included.
	// It is meant for connections that are private by other means, such as a
	// Unix socket behind a dialer, or a service mesh. False allows https, and
	// plain HTTP to localhost, 127.0.0.0/8 and [::1] alone.
	AllowPlaintext bool
}

// Validate reports everything that is wrong with o. The error names entries by
// field and index and never quotes them.
func (o TransportOptions) Validate() error {
	_, err := o.compile()
	return err
}

// destinations are TransportOptions, checked, in the form in which requests
// are matched.
type destinations struct {
	field          wire.Field // Name is a canonical header key
	hosts          wire.Hosts
	allowPlaintext bool
}

func (o TransportOptions) compile() (destinations, error) {
	d := destinations{allowPlaintext: o.AllowPlaintext}
	var errs []error
	var err error
	if d.field, err = wire.OutgoingField(o.Header); err != nil {
		errs = append(errs, fmt.Errorf("httpauth: %w", err))
	}
	if d.hosts, err = wire.ParseHosts(o.Hosts); err != nil {
		errs = append(errs, fmt.Errorf("httpauth: %w", err))
	}
	d.field.Name = http.CanonicalHeaderKey(d.field.Name)
	return d, errors.Join(errs...)
}
