package grpcauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// Options says where the token stands and what needs none. The zero value is
// ready to use.
type Options struct {
	// Headers are the metadata keys that may carry the token, in order, in
	// any case: the first one that a call has decides, even if it is empty.
	// authorization is read with the Bearer scheme, any other as the bare
	// token. None means dapr-api-token, then authorization.
	Headers []string

	// Exempt lists the methods that need no token, each in full, as
	// "/package.Service/Method". There are no prefixes and no patterns. None
	// means that every call needs a token, but see NoDefaultExempt.
	Exempt []string

	// NoDefaultExempt also asks those methods for a token that cannot carry
	// one: grpc.health.v1.Health, and the three that daprd calls without its
	// app token (AppCallback/ListTopicSubscriptions and ListInputBindings,
	// AppCallbackHealthCheck/HealthCheck). False exempts them.
	NoDefaultExempt bool

	// EndRevokedStreams ends a live stream with the status Unauthenticated when
	// the token that it was opened with is revoked, whatever its handler is
	// doing: the handler's context ends, and what it still sends or waits for
	// fails. Each stream costs a goroutine then. The verifier must be a
	// [verify.RevocationWaiter], as an agent is. False lets a stream live.
	EndRevokedStreams bool

	// WithoutPrincipal leaves the Principal out of the handler's context,
	// which saves the allocations that it costs to put it there.
	WithoutPrincipal bool
}

// Validate reports everything that is wrong with o. The error names entries
// by field and index and never quotes them.
func (o Options) Validate() error {
	_, err := o.compile()
	return err
}

// rules are Options, checked, in the form in which calls are matched.
type rules struct {
	fields     []wire.Field
	exempt     []string
	grpcExempt bool
}

func (o Options) compile() (rules, error) {
	c := rules{exempt: slices.Clone(o.Exempt), grpcExempt: !o.NoDefaultExempt}
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("grpcauth: "+format, args...))
	}
	var err error
	if c.fields, err = wire.Fields(o.Headers); err != nil {
		errs = append(errs, fmt.Errorf("grpcauth: %w", err))
	}
	for i, name := range o.Headers {
		name = strings.ToLower(name)
		if strings.HasSuffix(name, "-bin") || strings.HasPrefix(name, "grpc-") {
			fail("Headers[%d]: gRPC keeps keys that begin with grpc- or end in -bin for itself", i)
		}
	}
	for i, method := range o.Exempt {
		service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		if !wire.SafePath(method) || service == "" || name == "" {
			fail("Exempt[%d]: not a full method such as /package.Service/Method", i)
		}
	}
	return c, errors.Join(errs...)
}
