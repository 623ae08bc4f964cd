package grpcauth

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A TokenSource knows the token to send now. It is asked for every call, so it
// answers from memory, as agent.Agent does. It is safe for concurrent use.
type TokenSource interface {
	Token() (string, error)
}

// PerRPCCredentials returns credentials that send src's current token with each
// call to one of o.Hosts, for grpc.WithPerRPCCredentials. A stream sends it
// once, when it opens. Nobody else may put the same key into the call's
// metadata: a key sent twice is refused.
//
// A call is not sent, and fails with the status
//
//   - Unavailable, where src has no token; the error wraps src's
//   - Unauthenticated, where the authority is none of o.Hosts, or where the
//     token would go in plain text without leave (see [CredentialsOptions])
//
// What is looked at in plain text is the address that the connection leads to,
// which no name and no resolver can pretend. Where none of o.Hosts is loopback
// and plain text is not allowed, grpc.NewClient itself refuses credentials such
// as insecure.NewCredentials. A Unix socket under another authority than
// localhost wants the transport credentials of grpc's credentials/local.
//
// With [UnaryClientInterceptor] a call that fails because its token was
// superseded on the way is sent once more.
//
// It panics if src is nil or [CredentialsOptions.Validate] reports an error.
func PerRPCCredentials(src TokenSource, o CredentialsOptions) credentials.PerRPCCredentials {
	if src == nil {
		panic("grpcauth: nil TokenSource")
	}
	d, err := o.compile()
	if err != nil {
		panic(err)
	}
	return &perRPC{destinations: d, token: src.Token}
}

// A perRPC is immutable.
type perRPC struct {
	destinations
	token func() (string, error) // and not its source: fmt cannot look into a func
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (c *perRPC) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if err := c.permit(ctx, uri); err != nil {
		return nil, err
	}
	token, err := c.token()
	switch {
	case err != nil:
		return nil, fail(codes.Unavailable, "no token to send: "+err.Error(), err)
	case token == "":
		return nil, fail(codes.Unavailable, "the source gave an empty token", verify.ErrUnavailable)
	}
	call, _ := ctx.Value(attemptKey{}).(*attempt)
	call.remember(token, c.token)
	return map[string]string{c.field.Name: c.field.Value(token)}, nil
}

// permit says why the token may not go where ctx and uri say, and nil where it
// may. grpc gives one uri, "https://AUTHORITY/package.Service", whatever the
// transport.
func (c *perRPC) permit(ctx context.Context, uris []string) error {
	loopback := len(uris) > 0
	for _, uri := range uris {
		authority, _, _ := strings.Cut(strings.TrimPrefix(uri, "https://"), "/")
		host := c.hosts.Find("https", authority)
		if host == nil {
			return fail(codes.Unauthenticated, fmt.Sprintf("no token for the authority %q, which is none of Hosts; add it, or leave these credentials out", authority), nil)
		}
		loopback = loopback && host.Loopback
	}
	switch {
	case len(uris) == 0:
		return fail(codes.Unauthenticated, "no token without an authority; grpc gives none", nil)
	case c.allowPlaintext, private(ctx), loopback && local(ctx):
		return nil
	}
	return fail(codes.Unauthenticated, "the token would be sent in plain text; use TLS, or set AllowPlaintext if the connection is private by other means", nil)
}

// private reports whether the connection's transport credentials promise
// privacy. [credentials.CheckSecurityLevel] takes it for granted where they
// promise nothing; a secret cannot.
func private(ctx context.Context) bool {
	info, _ := credentials.RequestInfoFromContext(ctx)
	common, ok := info.AuthInfo.(interface {
		GetCommonAuthInfo() credentials.CommonAuthInfo
	})
	return ok && common.GetCommonAuthInfo().SecurityLevel >= credentials.PrivacyAndIntegrity
}

// local reports whether the connection leads to this machine, by the address
// at its other end, which grpc puts into the context before it asks for
// metadata. That of a proxy would be local too, but then the authority is not.
func local(ctx context.Context) bool {
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

// RequireTransportSecurity implements [credentials.PerRPCCredentials]. It is
// true where no connection without can be allowed, so that grpc refuses one
// early; in all cases GetRequestMetadata looks at the connection itself.
func (c *perRPC) RequireTransportSecurity() bool {
	return !c.allowPlaintext && !c.hosts.AnyLoopback()
}

// String returns a text that holds no token.
func (c *perRPC) String() string { return "grpcauth.PerRPCCredentials" }

// Format writes String for every verb and flag.
func (c *perRPC) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// A failure is an error that grpc hands to the caller as it is, because it has
// a status. Its code is one that credentials may use (gRFC A54).
type failure struct {
	status *status.Status
	cause  error // nil for none
}

func fail(code codes.Code, text string, cause error) error {
	return &failure{status.New(code, "grpcauth: "+text), cause}
}

func (f *failure) Error() string              { return f.status.Err().Error() }
func (f *failure) GRPCStatus() *status.Status { return f.status }
func (f *failure) Unwrap() error              { return f.cause }
