package verify_test

import (
	"context"
	"slices"
	"testing"

	"github.com/tokenagent/tokenagent/internal/hold"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP6_AnyAllocatesNothingForASharedToken: Any marks the context only for a token of
// the form of a JWT, whose refusal may be delayed.
func TestP6_AnyAllocatesNothingForASharedToken(t *testing.T) {
	refuse := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return nil, verify.ErrInvalidToken })
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "s"})
	accept := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return p, nil })
	v := verify.Any(refuse, accept)
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), "the-token-of-this-test") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAnyDelaysOnlyTheLastRefusal: a JWT that one Verifier refuses may be good for the
// next, so only the last one may delay its refusal.
func TestAnyDelaysOnlyTheLastRefusal(t *testing.T) {
	var off []bool
	v := verify.VerifierFunc(func(ctx context.Context, _ string) (*verify.Principal, error) {
		off = append(off, hold.IsOff(ctx))
		return nil, verify.ErrInvalidToken
	})
	_, _ = verify.Any(v, v, v).Verify(t.Context(), "a.b.c")
	if !slices.Equal(off, []bool{true, true, false}) {
		t.Errorf("delays are off: %v, want true true false", off)
	}
}
