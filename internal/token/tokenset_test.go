package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func ledgerOf(t *testing.T, text string) *rotation.Ledger[Token] {
	t.Helper()
	return advance(t, nil, text, rotation.Window{})
}

func advance(t *testing.T, prev *rotation.Ledger[Token], text string, w rotation.Window) *rotation.Ledger[Token] {
	t.Helper()
	got, err := Parse([]byte(text), Options{})
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
	s := NewSet(ledgerOf(t, tokenA+"\n"+tokenB+" next\n"+tokenC+" previous\n"+tokenD), SetOptions{Source: "payments"})
	for token, slot := range map[string]rotation.Slot{
		tokenA: rotation.Current, tokenB: rotation.Next, tokenC: rotation.Previous, tokenD: rotation.Listed,
	} {
		p, err := s.Verify(context.Background(), token)
		if err != nil {
			t.Fatalf("%s: %v", slot, err)
		}
		if p.Slot() != slot || p.Method() != verify.MethodToken {
			t.Errorf("%s: slot %s, method %s", slot, p.Slot(), p.Method())
		}
		if p.Subject() != "payments" || p.Source() != "payments" {
			t.Errorf("%s: subject %s, source %s", slot, p.Subject(), p.Source())
		}
		if p.KeyID() != verify.Fingerprint(verify.Digest(token)) {
			t.Errorf("%s: key id %s", slot, p.KeyID())
		}
		if _, ok := p.Claim("sub"); ok {
			t.Error("an opaque token has a claim")
		}
	}
}

// TestSetOfAnySizeAcceptsOnlyItsTokens: a set compares a few tokens one by one, and looks
// up more of them by hash. Both must compare every byte and the length.
func TestSetOfAnySizeAcceptsOnlyItsTokens(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		s := setOf(n + 1)
		for i := range n + 1 {
			token := tokenOf(i)
			if p, err := s.Verify(t.Context(), token); err != nil || p.KeyID() != New(token).Fingerprint() {
				t.Errorf("token %d of %d: %v, %v", i, n+1, p, err)
			}
			for _, other := range []string{token[1:], token[:len(token)-1], token + "x", "y" + token[1:], token[:len(token)-1] + "y", token + token} {
				if p, err := s.Verify(t.Context(), other); !errors.Is(err, verify.ErrInvalidToken) {
					t.Errorf("like token %d of %d, with %d bytes: %v, %v", i, n+1, len(other), p, err)
				}
			}
		}
	}
}

// TestP5_NothingLoadedNothingAccepted: an empty or missing set accepts nothing.
func TestP5_NothingLoadedNothingAccepted(t *testing.T) {
	t.Parallel()
	revoked := fmt.Sprintf("%s\nrevoked %x", tokenA, verify.Digest(tokenA))
	for name, c := range map[string]struct {
		set   *Set
		token string
		want  error
	}{
		"not loaded, no token":     {nil, "", verify.ErrUnavailable},
		"not loaded, a token":      {nil, tokenA, verify.ErrUnavailable},
		"nil ledger":               {NewSet(nil, SetOptions{Source: "t"}), tokenA, verify.ErrUnavailable},
		"zero set, no token":       {&Set{}, "", verify.ErrNoToken},
		"zero set, a token":        {&Set{}, tokenA, verify.ErrInvalidToken},
		"empty ledger, no token":   {NewSet(&rotation.Ledger[Token]{}, SetOptions{Source: "t"}), "", verify.ErrNoToken},
		"empty ledger, a token":    {NewSet(&rotation.Ledger[Token]{}, SetOptions{Source: "t"}), tokenA, verify.ErrInvalidToken},
		"current revoked":          {NewSet(ledgerOf(t, revoked), SetOptions{Source: "t"}), tokenA, verify.ErrRevokedToken},
		"current revoked, empty":   {NewSet(ledgerOf(t, revoked), SetOptions{Source: "t"}), "", verify.ErrNoToken},
		"loaded, no token":         {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), "", verify.ErrNoToken},
		"loaded, wrong token":      {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), tokenB, verify.ErrInvalidToken},
		"loaded, prefix":           {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), tokenA[:19], verify.ErrInvalidToken},
		"loaded, longer":           {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), tokenA + "A", verify.ErrInvalidToken},
		"loaded, malformed":        {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), verify.Malformed, verify.ErrInvalidToken},
		"loaded, huge wrong":       {NewSet(ledgerOf(t, revoked), SetOptions{Source: "t"}), strings.Repeat("x", 1<<20), verify.ErrInvalidToken},
		"loaded, white space":      {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), " ", verify.ErrInvalidToken},
		"loaded, trailing space":   {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), tokenA + " ", verify.ErrInvalidToken},
		"any of nothing":           {nil, tokenA, verify.ErrUnavailable},
		"loaded, another's digest": {NewSet(ledgerOf(t, tokenA), SetOptions{Source: "t"}), fmt.Sprintf("%x", verify.Digest(tokenA)), verify.ErrInvalidToken},
	} {
		p, err := c.set.Verify(context.Background(), c.token)
		if p != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, p, err, c.want)
		}
	}
	if _, err := verify.Any().Verify(context.Background(), tokenA); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("any of nothing: %v", err)
	}
}

// TestP2_DeadlineIsCheckedAtVerification runs no timer: the same set accepts the token a
// nanosecond before its deadline and refuses it at the deadline.
func TestP2_DeadlineIsCheckedAtVerification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := rotation.Window{Overlap: 15 * time.Minute}
		l := advance(t, nil, tokenA, w)
		l = advance(t, l, tokenB, w)
		s := NewSet(l, SetOptions{Source: "token"})
		time.Sleep(15*time.Minute - 1)
		p, err := s.Verify(t.Context(), tokenA)
		if err != nil || p.Slot() != rotation.Previous {
			t.Fatalf("1 ns before the deadline: %v, %v", p, err)
		}
		if got := l.Entries[1].Use.Last(); !got.Equal(time.Now()) {
			t.Errorf("its last use is %s, want %s", got, time.Now())
		}
		time.Sleep(1)
		if _, err := s.Verify(t.Context(), tokenA); !errors.Is(err, verify.ErrExpiredToken) {
			t.Fatalf("at the deadline: %v, want expired", err)
		}
		// The next change drops the token from the set. It is still refused as expired.
		s = NewSet(advance(t, l, tokenC, w), SetOptions{Source: "token"})
		if _, err := s.Verify(t.Context(), tokenA); !errors.Is(err, verify.ErrExpiredToken) {
			t.Errorf("after the next change: %v, want expired", err)
		}
	})
}

// TestP6_VerifyAllocatesNothing checks every result.
func TestP6_VerifyAllocatesNothing(t *testing.T) {
	huge := strings.Repeat("x", 60_000)
	s, good, bad := setOf(1000), tokenOf(7), tokenOf(1000)
	revoked := NewSet(ledgerOf(t, fmt.Sprintf("%s\n%s previous\nrevoked %x", tokenA, tokenC, verify.Digest(tokenB))), SetOptions{Source: "t"})
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
