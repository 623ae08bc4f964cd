package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// CredentialsOptions says where the token may be sent, and how. Hosts is required;
// the other fields may be zero.
type CredentialsOptions struct {
	// Hosts are the only hosts that the token is sent to, each as "host" or
	// "host:port". The call's authority must be one of them: names are compared
	// ignoring case and are not resolved, there are no patterns, and a missing port
	// is 443. Write an IPv6 address in brackets, and an internationalised name in
	// its ASCII form (xn--). An empty list is an error, because it must not mean
	// "any host".
	//
	// The authority is the target's endpoint ("orders:50051" for
	// "dns:///orders:50051", "127.0.0.1:50051" for
	// "passthrough:///127.0.0.1:50051"), and "localhost" for a Unix socket, unless
	// grpc.WithAuthority, grpc.CallAuthority or the resolver sets another. With TLS
	// the server's certificate proves the authority. In plain text nothing does.
	Hosts []string

	// Header is the metadata key that carries the token, in upper or lower case.
	// authorization uses the Bearer scheme, any other key holds the token alone.
	// Empty means dapr-api-token.
	Header string

	// AllowPlaintext allows connections whose transport credentials do not promise
	// privacy. Everybody on the network path can then read the token. Use it for
	// connections that are private in another way, such as bufconn or a service
	// mesh. Without it, such a connection must stay within this machine: the
	// authority must be localhost, in 127.0.0.0/8 or [::1], and the peer must have a
	// loopback address or be a Unix socket.
	AllowPlaintext bool
}

// Validate returns an error that lists everything that is wrong with o. The error
// names list entries by their index and never quotes them.
func (o CredentialsOptions) Validate() error {
	_, err := o.destinations()
	return err
}

func (o CredentialsOptions) destinations() (wire.Destinations, error) {
	d, err := wire.ParseDestinations(o.Header, o.Hosts, o.AllowPlaintext)
	if wire.GRPCReserves(o.Header) {
		err = errors.Join(errors.New("Header: gRPC reserves keys that begin with grpc- or end in -bin"), err)
	}
	if err != nil {
		return d, fmt.Errorf("grpcauth: %w", err)
	}
	return d, nil
}

// PerRPCCredentials returns credentials for grpc.WithPerRPCCredentials that send
// src's current token with each call to one of o.Hosts. A stream sends it once,
// when it opens. They are safe for concurrent use. No other part of the program
// may add the same metadata key: a call that has it twice is refused.
//
// A call is not sent, and fails with the status
//
//   - Unavailable if src returns an error, which the call's error wraps
//   - Unauthenticated if the authority is not one of o.Hosts, or if the token would
//     be sent in plain text without [CredentialsOptions.AllowPlaintext]
//
// In plain text the peer's address decides whether the connection stays within this
// machine; no name and no resolver can fake that address. If no entry of o.Hosts
// is loopback and plain text is not allowed, grpc.NewClient itself rejects
// transport credentials such as insecure.NewCredentials. A Unix socket whose
// authority is not localhost needs the transport credentials of grpc's package
// credentials/local.
//
// With [UnaryClientInterceptor], a call that fails because its token was superseded
// in the meantime is sent once more.
//
// PerRPCCredentials panics if src is nil or [CredentialsOptions.Validate] returns
// an error.
func PerRPCCredentials(src verify.TokenSource, o CredentialsOptions) credentials.PerRPCCredentials {
	if src == nil {
		panic("grpcauth: nil TokenSource")
	}
	d, err := o.destinations()
	if err != nil {
		panic(err)
	}
	return &perRPC{destinations: d, token: src.Token}
}

// A perRPC is immutable.
type perRPC struct {
	destinations wire.Destinations
	token        func() (string, error) // a func, because fmt does not print the values that it captures
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (c *perRPC) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if err := c.permit(ctx, uri); err != nil {
		return nil, err
	}
	token, err := wire.CurrentToken(c.token)
	if err != nil {
		return nil, fail(codes.Unavailable, err.Error(), err)
	}
	if call, ok := ctx.Value(attemptKey{}).(*attempt); ok { // the call has the interceptor
		call.remember(token, c.token)
	}
	return map[string]string{c.destinations.Field.Name: c.destinations.Field.Value(token)}, nil
}

// permit returns an error if the token may not be sent over the connection of ctx
// to uris. grpc passes one URI, "https://AUTHORITY/package.Service", whatever the
// transport.
func (c *perRPC) permit(ctx context.Context, uris []string) error {
	loopback := len(uris) > 0
	for _, uri := range uris {
		authority, _, _ := strings.Cut(strings.TrimPrefix(uri, "https://"), "/")
		host := c.destinations.Hosts.Find("https", authority)
		if host == nil {
			return fail(codes.Unauthenticated, fmt.Sprintf("the authority %q is not one of Hosts; add it to Hosts, or do not use these credentials", authority), nil)
		}
		loopback = loopback && host.Loopback
	}
	switch {
	case len(uris) == 0:
		return fail(codes.Unauthenticated, "grpc passed no authority, so no token is sent", nil)
	case c.destinations.AllowPlaintext, isPrivate(ctx), loopback && isLocal(ctx):
		return nil
	}
	return fail(codes.Unauthenticated, "the token would be sent in plain text; use TLS, or set AllowPlaintext if the connection is private by other means", nil)
}

// isPrivate reports whether the connection's transport credentials promise privacy.
// It does not use [credentials.CheckSecurityLevel], which assumes privacy if the
// credentials promise nothing.
func isPrivate(ctx context.Context) bool {
	info, _ := credentials.RequestInfoFromContext(ctx)
	common, ok := info.AuthInfo.(interface {
		GetCommonAuthInfo() credentials.CommonAuthInfo
	})
	return ok && common.GetCommonAuthInfo().SecurityLevel >= credentials.PrivacyAndIntegrity
}

// isLocal reports whether the connection's peer is on this machine. grpc puts the
// peer's address into the context before it asks for metadata. The peer may be a
// proxy, but then the authority is not loopback.
func isLocal(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	switch addr := p.Addr.(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]. It returns
// true if permit would refuse every connection without privacy, so that grpc rejects
// such a connection early. GetRequestMetadata checks the connection in any case.
func (c *perRPC) RequireTransportSecurity() bool {
	return !c.destinations.AllowPlaintext && !c.destinations.Hosts.AnyLoopback()
}

// String returns a text without the token.
func (c *perRPC) String() string { return "grpcauth.PerRPCCredentials" }

// Format writes String for every verb and flag.
func (c *perRPC) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// A statusError is an error with a status and a cause. grpc returns an error from
// credentials to the caller unchanged if it has a status with one of the codes that
// gRFC A54 allows.
type statusError struct {
	status *status.Status
	cause  error // may be nil
}

func fail(code codes.Code, text string, cause error) error {
	return &statusError{status.New(code, "grpcauth: "+text), cause}
}

func (e *statusError) Error() string              { return e.status.Err().Error() }
func (e *statusError) GRPCStatus() *status.Status { return e.status }
func (e *statusError) Unwrap() error              { return e.cause }
