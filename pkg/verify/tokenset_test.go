package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
)

func ledgerOf(t *testing.T, text string) *rotation.Ledger[Token] {
	t.Helper()
	return advance(t, nil, text, rotation.Window{})
}

func advance(t *testing.T, prev *rotation.Ledger[Token], text string, w rotation.Window) *rotation.Ledger[Token] {
	t.Helper()
	got, err := Parse([]byte(text), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rotation.Advance(prev, got, time.Now(), w)
}

const (
	tokenA = "AAAAAAAAAAAAAAAAAAAA"
	tokenB = "BBBBBBBBBBBBBBBBBBBB"
	tokenC = "CCCCCCCCCCCCCCCCCCCC"
	tokenD = "DDDDDDDDDDDDDDDDDDDD"
)

func TestTokenSetBySlot(t *testing.T) {
	t.Parallel()
	s := NewTokenSet(ledgerOf(t, tokenA+"\n"+tokenB+" next\n"+tokenC+" previous\n"+tokenD), "payments")
	for token, slot := range map[string]rotation.Slot{
		tokenA: rotation.Current, tokenB: rotation.Next, tokenC: rotation.Previous, tokenD: rotation.Listed,
	} {
		p, err := s.Verify(context.Background(), token)
		if err != nil {
			t.Fatalf("%s: %v", slot, err)
		}
		if p.Slot() != slot || p.Subject() != "payments" || p.Source() != "payments" || p.Method() != MethodToken {
			t.Errorf("%s: %s %s %s %s", slot, p.Slot(), p.Subject(), p.Source(), p.Method())
		}
		if p.KeyID() != Fingerprint(Digest(token)) {
			t.Errorf("%s: key id %s", slot, p.KeyID())
		}
		if _, ok := p.Claim("sub"); ok {
			t.Error("an opaque token has a claim")
		}
	}
}

// TestSetOfAnySizeAcceptsItsTokensAlone: a few are compared one by one, more are
// looked up by hash, and both must know every byte and the length.
func TestSetOfAnySizeAcceptsItsTokensAlone(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		s := setOf(n + 1)
		for i := range n + 1 {
			token := tokenOf(i)
			if p, err := s.Verify(t.Context(), token); err != nil || p.KeyID() != NewToken(token).Fingerprint() {
				t.Errorf("token %d of %d: %v, %v", i, n+1, p, err)
			}
			for _, other := range []string{token[1:], token[:len(token)-1], token + "x", "y" + token[1:], token[:len(token)-1] + "y", token + token} {
				if p, err := s.Verify(t.Context(), other); !errors.Is(err, ErrInvalidToken) {
					t.Errorf("like token %d of %d, with %d bytes: %v, %v", i, n+1, len(other), p, err)
				}
			}
		}
	}
}

// TestP5_NothingLoadedNothingAccepted: whatever is missing, it never means open.
func TestP5_NothingLoadedNothingAccepted(t *testing.T) {
	t.Parallel()
	revoked := fmt.Sprintf("%s\nrevoked %x", tokenA, Digest(tokenA))
	for name, c := range map[string]struct {
		set   *TokenSet
		token string
		want  error
	}{
		"not loaded, no token":     {nil, "", ErrUnavailable},
		"not loaded, a token":      {nil, tokenA, ErrUnavailable},
		"nil ledger":               {NewTokenSet(nil, "t"), tokenA, ErrUnavailable},
		"zero set, no token":       {&TokenSet{}, "", ErrNoToken},
		"zero set, a token":        {&TokenSet{}, tokenA, ErrInvalidToken},
		"empty ledger, no token":   {NewTokenSet(&rotation.Ledger[Token]{}, "t"), "", ErrNoToken},
		"empty ledger, a token":    {NewTokenSet(&rotation.Ledger[Token]{}, "t"), tokenA, ErrInvalidToken},
		"current revoked":          {NewTokenSet(ledgerOf(t, revoked), "t"), tokenA, ErrRevokedToken},
		"current revoked, empty":   {NewTokenSet(ledgerOf(t, revoked), "t"), "", ErrNoToken},
		"loaded, no token":         {NewTokenSet(ledgerOf(t, tokenA), "t"), "", ErrNoToken},
		"loaded, wrong token":      {NewTokenSet(ledgerOf(t, tokenA), "t"), tokenB, ErrInvalidToken},
		"loaded, prefix":           {NewTokenSet(ledgerOf(t, tokenA), "t"), tokenA[:19], ErrInvalidToken},
		"loaded, longer":           {NewTokenSet(ledgerOf(t, tokenA), "t"), tokenA + "A", ErrInvalidToken},
		"loaded, malformed":        {NewTokenSet(ledgerOf(t, tokenA), "t"), Malformed, ErrInvalidToken},
		"loaded, huge wrong":       {NewTokenSet(ledgerOf(t, revoked), "t"), strings.Repeat("x", 1<<20), ErrInvalidToken},
		"loaded, white space":      {NewTokenSet(ledgerOf(t, tokenA), "t"), " ", ErrInvalidToken},
		"loaded, trailing space":   {NewTokenSet(ledgerOf(t, tokenA), "t"), tokenA + " ", ErrInvalidToken},
		"any of nothing":           {nil, tokenA, ErrUnavailable},
		"loaded, another's digest": {NewTokenSet(ledgerOf(t, tokenA), "t"), fmt.Sprintf("%x", Digest(tokenA)), ErrInvalidToken},
	} {
		p, err := c.set.Verify(context.Background(), c.token)
		if p != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, p, err, c.want)
		}
	}
	if _, err := Any().Verify(context.Background(), tokenA); !errors.Is(err, ErrUnavailable) {
		t.Errorf("any of nothing: %v", err)
	}
}

// TestP2_DeadlineIsCheckedAtVerification lets no timer run at all between the
// swap and the boundary: the same set accepts a nanosecond before the
// deadline and refuses at it.
func TestP2_DeadlineIsCheckedAtVerification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := rotation.Window{Overlap: 15 * time.Minute}
		l := advance(t, nil, tokenA, w)
		l = advance(t, l, tokenB, w)
		s := NewTokenSet(l, "token")
		time.Sleep(15*time.Minute - 1)
		p, err := s.Verify(t.Context(), tokenA)
		if err != nil || p.Slot() != rotation.Previous {
			t.Fatalf("1 ns before the deadline: %v, %v", p, err)
		}
		if got := l.Entries[1].Use.Last(); !got.Equal(time.Now()) {
			t.Errorf("its last use is %s, want %s", got, time.Now())
		}
		time.Sleep(1)
		if _, err := s.Verify(t.Context(), tokenA); !errors.Is(err, ErrExpiredToken) {
			t.Fatalf("at the deadline: %v, want expired", err)
		}
		// The next change drops it from the set, and it is still told apart.
		s = NewTokenSet(advance(t, l, tokenC, w), "token")
		if _, err := s.Verify(t.Context(), tokenA); !errors.Is(err, ErrExpiredToken) {
			t.Errorf("after the next change: %v, want expired", err)
		}
	})
}

// TestP6_VerifyAllocatesNothing holds for every answer.
func TestP6_VerifyAllocatesNothing(t *testing.T) {
	huge := strings.Repeat("x", 60_000)
	s, good, bad := setOf(1000), tokenOf(7), tokenOf(1000)
	revoked := NewTokenSet(ledgerOf(t, fmt.Sprintf("%s\n%s previous\nrevoked %x", tokenA, tokenC, Digest(tokenB))), "t")
	for name, f := range map[string]func() error{
		"accepted": func() error { _, err := s.Verify(context.Background(), good); return err },
		"refused":  func() error { _, err := s.Verify(context.Background(), bad); return err },
		"previous": func() error { _, err := revoked.Verify(context.Background(), tokenC); return err },
		"revoked":  func() error { _, err := revoked.Verify(context.Background(), tokenB); return err },
		"long":     func() error { _, err := revoked.Verify(context.Background(), huge); return err },
		"missing":  func() error { _, err := s.Verify(context.Background(), ""); return err },
	} {
		if n := testing.AllocsPerRun(100, func() { _ = f() }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func TestAnyTakesTheClassThatSaysMost(t *testing.T) {
	t.Parallel()
	refuse := func(err error) Verifier {
		return VerifierFunc(func(context.Context, string) (*Principal, error) { return nil, fmt.Errorf("wrapped: %w", err) })
	}
	order := []error{ErrNoToken, ErrInvalidToken, ErrUnavailable, ErrExpiredToken, ErrRevokedToken}
	for i, low := range order {
		for _, high := range order[i:] {
			for _, v := range []Verifier{Any(refuse(low), refuse(high)), Any(refuse(high), refuse(low))} {
				if _, err := v.Verify(t.Context(), "x"); !errors.Is(err, high) {
					t.Errorf("%v with %v: %v", low, high, err)
				}
			}
		}
	}
	yes := VerifierFunc(func(context.Context, string) (*Principal, error) { return new(Principal), nil })
	if _, err := Any(refuse(ErrRevokedToken), yes).Verify(t.Context(), "x"); err != nil {
		t.Errorf("the second accepts: %v", err)
	}
	neither := VerifierFunc(func(context.Context, string) (*Principal, error) { return nil, nil }) //nolint:nilnil // the fault under test
	if p, err := Any(neither).Verify(t.Context(), "x"); p != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("neither yes nor no: %v, %v", p, err)
	}
	if _, err := Any(refuse(errors.New("disk on fire"))).Verify(t.Context(), "x"); Class(err) != Unavailable {
		t.Errorf("an unknown fault is %s, want unavailable", Class(err))
	}
}
