package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/internal/hold"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP6_AnyAllocatesNothingForASharedToken: Any copies the context only for a token that
// looks like a JWT, because only its refusal may be delayed.
func TestP6_AnyAllocatesNothingForASharedToken(t *testing.T) {
	refuse := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return nil, verify.ErrInvalidToken })
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "s"})
	accept := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return p, nil })
	v := verify.Any(refuse, accept)
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), "the-token-of-this-test") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAnyDelaysOnlyTheLastRefusal: the next Verifier may accept a JWT that one Verifier
// refuses, so only the last one may delay its refusal.
func TestAnyDelaysOnlyTheLastRefusal(t *testing.T) {
	var off []bool
	v := verify.VerifierFunc(func(ctx context.Context, _ string) (*verify.Principal, error) {
		off = append(off, hold.IsOff(ctx))
		return nil, verify.ErrInvalidToken
	})
	_, _ = verify.Any(v, v, v).Verify(t.Context(), "a.b.c")
	if !slices.Equal(off, []bool{true, true, false}) {
		t.Errorf("delay switched off: %v, want true true false", off)
	}
}

// awaiter is a RevocationWaiter that returns the result of await.
type awaiter struct {
	verify.Verifier
	await func() bool
}

func (a awaiter) AwaitRevocation(context.Context, *verify.Principal) bool { return a.await() }

// TestP3_AnyAwaitsEveryWaiter: a waiter that does not know the Principal returns false at
// once, and Any then goes on waiting for the others.
func TestP3_AnyAwaitsEveryWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := func(d time.Duration, revoked bool) verify.Verifier {
			return awaiter{await: func() bool { time.Sleep(d); return revoked }}
		}
		for name, c := range map[string]struct {
			v    verify.Verifier
			want bool
		}{
			"the second revokes":  {verify.Any(later(0, false), later(time.Hour, true)), true},
			"the first revokes":   {verify.Any(later(time.Hour, true), later(0, false)), true},
			"neither revokes":     {verify.Any(later(0, false), later(time.Hour, false)), false},
			"the only one":        {verify.Any(later(time.Hour, true)), true},
			"the only one, false": {verify.Any(later(time.Hour, false)), false},
		} {
			if got := c.v.(verify.RevocationWaiter).AwaitRevocation(t.Context(), nil); got != c.want {
				t.Errorf("%s: %t, want %t", name, got, c.want)
			}
		}
	})
}

// TestAnyReturnsTheClassThatSaysMost: the order of the Verifiers does not matter.
func TestAnyReturnsTheClassThatSaysMost(t *testing.T) {
	t.Parallel()
	refuse := func(err error) verify.Verifier {
		return verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return nil, fmt.Errorf("wrapped: %w", err) })
	}
	order := []error{verify.ErrNoToken, verify.ErrInvalidToken, verify.ErrUnavailable, verify.ErrExpiredToken, verify.ErrRevokedToken}
	for i, low := range order {
		for _, high := range order[i:] {
			for _, v := range []verify.Verifier{verify.Any(refuse(low), refuse(high)), verify.Any(refuse(high), refuse(low))} {
				if _, err := v.Verify(t.Context(), "x"); !errors.Is(err, high) {
					t.Errorf("%v with %v: %v", low, high, err)
				}
			}
		}
	}
	accept := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return new(verify.Principal), nil })
	if _, err := verify.Any(refuse(verify.ErrRevokedToken), accept).Verify(t.Context(), "x"); err != nil {
		t.Errorf("the second accepts: %v", err)
	}
	neither := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return nil, nil }) //nolint:nilnil // what the test checks
	if p, err := verify.Any(neither).Verify(t.Context(), "x"); p != nil || !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("neither a Principal nor an error: %v, %v", p, err)
	}
	if _, err := verify.Any(refuse(errors.New("disk on fire"))).Verify(t.Context(), "x"); verify.Class(err) != verify.Unavailable {
		t.Errorf("an unknown error is %s, want unavailable", verify.Class(err))
	}
}
