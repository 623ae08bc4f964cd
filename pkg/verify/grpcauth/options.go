package grpcauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// Options says which metadata key carries the token and which methods need none.
// The zero value is ready to use.
type Options struct {
	// Headers are the metadata keys that may carry the token, in upper or lower
	// case. The first one that is present in a call decides, even if it is empty.
	// authorization uses the Bearer scheme, any other key holds the token alone.
	// Empty means dapr-api-token, then authorization.
	Headers []string

	// Exempt lists the methods that need no token, each as
	// "/package.Service/Method". There are no prefixes and no patterns. Empty means
	// that every method needs a token, except the methods of NoDefaultExempt.
	Exempt []string

	// NoDefaultExempt requires a token for the methods that are exempt by default:
	// those of grpc.health.v1.Health, and those that daprd calls without its app
	// token (AppCallback/ListTopicSubscriptions, AppCallback/ListInputBindings,
	// AppCallbackHealthCheck/HealthCheck).
	NoDefaultExempt bool

	// EndRevokedStreams ends an open stream when the token that opened it is
	// revoked. The handler's context is cancelled. Its Send and Recv return the
	// status Unauthenticated at once, even if they were waiting. The caller gets this
	// status when the handler returns. A handler that neither watches its context nor
	// sends or receives keeps the call open until it returns. The Verifier must be a
	// [verify.RevocationWaiter], as an agent is.
	//
	// EndRevokedStreams costs one goroutine per stream, and another one while a
	// message is sent or received. After a revocation grpc may still use the message
	// of a Send or Recv that was waiting. The handler must not use that message
	// again.
	EndRevokedStreams bool

	// WithoutPrincipal leaves the Principal out of the handler's context, which
	// saves one allocation per call.
	WithoutPrincipal bool
}

// Validate returns an error that lists everything that is wrong with o. The error
// names list entries by their index. It never quotes them, because they may hold a
// token by mistake.
func (o Options) Validate() error {
	_, err := o.guard()
	return err
}

// guard returns the guard that o describes, without a verifier.
func (o Options) guard() (*guard, error) {
	g := &guard{exempt: slices.Clone(o.Exempt), grpcExempt: !o.NoDefaultExempt}
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("grpcauth: "+format, args...))
	}
	var err error
	if g.fields, err = wire.ParseFields(o.Headers); err != nil {
		fail("%w", err)
	}
	for i, name := range o.Headers {
		if wire.GRPCReserves(name) {
			fail("Headers[%d]: gRPC reserves keys that begin with grpc- or end in -bin", i)
		}
	}
	for i, method := range o.Exempt {
		service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		if !wire.SafePath(method) || service == "" || name == "" {
			fail("Exempt[%d]: not a full method such as /package.Service/Method", i)
		}
	}
	return g, errors.Join(errs...)
}
