package grpcauth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// CredentialsOptions says where a token may be sent to, and how. Hosts has no
// default; the rest may be left zero.
type CredentialsOptions struct {
	// Hosts are the only ones that are sent the token, each as "host" or
	// "host:port", and compared with the call's authority: without case, not
	// resolved, without patterns. Without a port, 443 is meant. An IPv6 address
	// stands in brackets, an internationalised name in its ASCII form (xn--).
	// None is an error, since it must not mean 'any host'.
	//
	// The authority is the target's endpoint ("orders:50051" for
	// "dns:///orders:50051", "127.0.0.1:50051" for
	// "passthrough:///127.0.0.1:50051"), and "localhost" for a Unix socket,
	// unless grpc.WithAuthority, grpc.CallAuthority or the resolver says
	// otherwise. Over TLS it is the name that the server's certificate proves.
	// In plain text it is only what the server is called here.
	Hosts []string

	// Header is the metadata key that carries the token, in any case.
	// authorization is sent with the Bearer scheme, any other key as the bare
	// token. "" means dapr-api-token.
	Header string

	// AllowPlaintext lets the token go over connections whose transport
	// credentials do not promise privacy, wherever they lead, and so to
	// everybody on the way. It is meant for those that are private by other
	// means, such as bufconn, or a service mesh. False allows them only within
	// this machine: the authority is localhost, in 127.0.0.0/8 or [::1], and
	// the other end a loopback address or a Unix socket.
	AllowPlaintext bool
}

// Validate reports everything that is wrong with o. The error names entries by
// field and index and never quotes them.
func (o CredentialsOptions) Validate() error {
	_, err := o.compile()
	return err
}

// destinations are CredentialsOptions, checked, in the form in which calls are
// matched.
type destinations struct {
	field          wire.Field
	hosts          wire.Hosts
	allowPlaintext bool
}

func (o CredentialsOptions) compile() (destinations, error) {
	d := destinations{allowPlaintext: o.AllowPlaintext}
	var errs []error
	var err error
	if d.field, err = wire.OutgoingField(o.Header); err != nil {
		errs = append(errs, fmt.Errorf("grpcauth: %w", err))
	}
	if strings.HasPrefix(d.field.Name, "grpc-") || strings.HasSuffix(d.field.Name, "-bin") {
		errs = append(errs, errors.New("grpcauth: Header: gRPC keeps keys that begin with grpc- or end in -bin for itself"))
	}
	if d.hosts, err = wire.ParseHosts(o.Hosts); err != nil {
		errs = append(errs, fmt.Errorf("grpcauth: %w", err))
	}
	return d, errors.Join(errs...)
}
