package grpcauth

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// A guard authenticates calls. It is immutable.
type guard struct {
	verifier    verify.Verifier
	recorder    verify.PreviousUseRecorder // nil if the verifier is none
	revocations verify.RevocationWaiter    // nil unless Options.EndRevokedStreams

	fields     []wire.Field
	exempt     []string // full methods
	grpcExempt bool     // exempt the methods of [wire.GRPCExempt]

	refusals [wire.NumClasses]error
}

func newGuard(v verify.Verifier, o Options) *guard {
	if v == nil {
		panic("grpcauth: nil Verifier")
	}
	g, err := o.guard()
	if err != nil {
		panic(err)
	}
	g.verifier = v
	g.recorder, _ = v.(verify.PreviousUseRecorder)
	for class := range wire.NumClasses {
		g.refusals[class] = refusal(class)
	}
	if o.EndRevokedStreams {
		var ok bool
		if g.revocations, ok = v.(verify.RevocationWaiter); !ok {
			panic("grpcauth: EndRevokedStreams needs a Verifier that is a verify.RevocationWaiter")
		}
	}
	return g
}

func refusal(class wire.Class) error {
	if class.Temporary() {
		return status.Error(codes.Unavailable, class.Text())
	}
	return status.Error(codes.Unauthenticated, class.Text())
}

// authenticate returns the Principal of the call's token, nil and no error for an
// exempt call, or the status that refuses the call.
func (g *guard) authenticate(ctx context.Context, fullMethod string) (*verify.Principal, error) {
	if slices.Contains(g.exempt, fullMethod) || g.grpcExempt && wire.GRPCExempt(fullMethod) {
		return nil, nil //nolint:nilnil // exempt: no Principal and no refusal
	}
	token := g.token(ctx)
	p, err := g.verifier.Verify(ctx, token)
	p, err = wire.EnforceContract(token, p, err)
	if err != nil {
		return nil, g.refusals[wire.ClassOf(err)]
	}
	if g.recorder != nil && p.Slot() == verify.SlotPrevious {
		g.recorder.RecordPreviousUse(p, remoteAddr(ctx))
	}
	return p, nil
}

// token returns the token in the first configured key that is present, or "" if
// none is. It looks up one key at a time, because that copies less than
// [metadata.FromIncomingContext].
func (g *guard) token(ctx context.Context) string {
	for i := range g.fields {
		f := &g.fields[i]
		if values := metadata.ValueFromIncomingContext(ctx, f.Name); len(values) > 0 {
			return f.Token(values)
		}
	}
	return ""
}

// remoteAddr returns the caller's address, or "" if the transport has none.
func remoteAddr(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	return p.Addr.String()
}
