package grpcauth

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// A guard decides about calls. It is immutable.
type guard struct {
	rules
	verifier        verify.Verifier
	recorder        verify.PreviousUseRecorder // nil where the verifier does not want to know
	revocations     verify.RevocationWaiter    // nil where streams are left to live
	unauthenticated error
	unavailable     error
	busy            error
	metadata        any // what a context keeps incoming metadata under
}

func newGuard(v verify.Verifier, o Options) *guard {
	if v == nil {
		panic("grpcauth: nil Verifier")
	}
	c, err := o.compile()
	if err != nil {
		panic(err)
	}
	g := &guard{
		rules:           c,
		verifier:        v,
		unauthenticated: status.Error(codes.Unauthenticated, wire.TextUnauthenticated),
		unavailable:     status.Error(codes.Unavailable, wire.TextUnavailable),
		busy:            status.Error(codes.Unavailable, wire.TextBusy),
		metadata:        metadataKey(),
	}
	g.recorder, _ = v.(verify.PreviousUseRecorder)
	if o.EndRevokedStreams {
		var ok bool
		if g.revocations, ok = v.(verify.RevocationWaiter); !ok {
			panic("grpcauth: EndRevokedStreams needs a Verifier that is a verify.RevocationWaiter")
		}
	}
	return g
}

// check returns the Principal that the call's token proves, nil for a call
// that is exempt, or the status to refuse it with.
func (g *guard) check(ctx context.Context, fullMethod string) (*verify.Principal, error) {
	if g.isExempt(fullMethod) {
		return nil, nil //nolint:nilnil // exempt: nobody, and no objection
	}
	token := g.token(ctx)
	p, err := g.verifier.Verify(ctx, token)
	p, err = wire.Hold(token, p, err)
	switch {
	case err == nil:
	case wire.ClassOf(err) == wire.Unavailable:
		return nil, g.unavailable
	case wire.ClassOf(err) == wire.Busy:
		return nil, g.busy
	default:
		return nil, g.unauthenticated
	}
	if g.recorder != nil && p.Slot() == rotation.Previous {
		g.recorder.RecordPreviousUse(p, remote(ctx))
	}
	return p, nil
}

// token returns what the first configured key that is present holds, and ""
// where there is none. It looks keys up one by one: copying all of the
// metadata costs ten allocations.
func (g *guard) token(ctx context.Context) string {
	for i := range g.fields {
		f := &g.fields[i]
		if values := g.incoming(ctx, f.Name); len(values) > 0 {
			return f.Token(values)
		}
	}
	return ""
}

// incoming returns the values of a key in lower case, which are only to be read:
// they are those of [metadata.ValueFromIncomingContext] without its copy, which was
// a third of what a call cost here. Whatever is not plain to see is left to it.
func (g *guard) incoming(ctx context.Context, name string) []string {
	if md, ok := ctx.Value(g.metadata).(metadata.MD); ok {
		if values, ok := md[name]; ok {
			return values
		}
	}
	return metadata.ValueFromIncomingContext(ctx, name)
}

// metadataKey returns the key of incoming metadata in a context. It has no name
// outside of package metadata, which tells it to each context that it asks.
//
//nolint:contextcheck,nolintlint // this context is there to be asked, and for no call
func metadataKey() any {
	c := asked{Context: context.Background()}
	metadata.ValueFromIncomingContext(&c, "a key")
	return c.key
}

// asked is a context that notes what it was asked for.
type asked struct {
	context.Context //nolint:containedctx // it is one
	key             any
}

func (c *asked) Value(key any) any { c.key = key; return nil }

func (g *guard) isExempt(fullMethod string) bool {
	return slices.Contains(g.exempt, fullMethod) || g.grpcExempt && wire.GRPCExempt(fullMethod)
}

// remote returns the caller's address, and "" where the transport knows none.
func remote(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	return p.Addr.String()
}
