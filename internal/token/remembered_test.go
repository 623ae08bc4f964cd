package token

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// remembered returns the set of a process that knows three tokens only by their digests: a
// superseded, a revoked and a retired one.
func remembered(t *testing.T, old, revoked, retired string) *Set {
	t.Helper()
	now := time.Now()
	w := rotation.Window{Overlap: time.Minute}
	l := rotation.Restore(rotation.Snapshot{
		Entries: []rotation.SnapshotEntry{{
			ID: verify.Digest(old), Slot: rotation.Previous, Deadline: now.Add(time.Minute),
		}},
		Retired: []rotation.ID{verify.Digest(retired)},
		Revoked: []rotation.ID{verify.Digest(revoked)},
	}, now, w, Remembered)
	got, err := Parse([]byte("the-current-one-is-long-enough"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return NewSet(rotation.Advance(l, got, now, w), SetOptions{Source: "token"})
}

// TestP8_TokensAreRecognizedByDigest: a token of which only the digest is known is
// recognized, and no other token is.
func TestP8_TokensAreRecognizedByDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := strings.Repeat("o", 700) // longer than the buffer of Digest
		s := remembered(t, old, "a-revoked-token-of-old", "a-retired-token-of-old")
		p, err := s.Verify(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		if p.Slot() != rotation.Previous || p.Method() != verify.MethodToken {
			t.Errorf("slot %s, method %s", p.Slot(), p.Method())
		}
		if want := verify.Fingerprint(verify.Digest(old)); p.KeyID() != want {
			t.Errorf("key ID %s, want %s", p.KeyID(), want)
		}
		digest := verify.Digest(old)
		for token, want := range map[string]error{
			"a-revoked-token-of-old": verify.ErrRevokedToken, "a-retired-token-of-old": verify.ErrExpiredToken,
			old + "o": verify.ErrInvalidToken, string(digest[:]): verify.ErrInvalidToken, "": verify.ErrNoToken, "the-current-one-is-long-enough": nil,
		} {
			if _, err := s.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%d bytes: %v, want %v", len(token), err, want)
			}
		}
		time.Sleep(time.Minute - 1)
		if _, err := s.Verify(t.Context(), old); err != nil {
			t.Errorf("1 ns before its deadline: %v", err)
		}
		time.Sleep(1)
		if _, err := s.Verify(t.Context(), old); !errors.Is(err, verify.ErrExpiredToken) {
			t.Errorf("at its deadline: %v", err)
		}
	})
}

// TestP6_UnknownTokensAllocateNothing: an attacker must not cause allocations.
func TestP6_UnknownTokensAllocateNothing(t *testing.T) {
	s := remembered(t, "the-old-token-that-was", "a-revoked-token-of-old", "a-retired-token-of-old")
	for _, token := range []string{"the-old-token-that-was", "a-revoked-token-of-old", "what-nobody-knows-at-all", strings.Repeat("x", 3000)} {
		// The race detector makes a sync.Pool drop values at random, so the minimum of
		// many runs counts.
		least := 1.0
		for range 100 {
			least = min(least, testing.AllocsPerRun(1, func() { _, _ = s.Verify(context.Background(), token) }))
		}
		if least > 0 {
			t.Errorf("%d bytes: %v allocations", len(token), least)
		}
	}
}

func TestP7_RememberedTokenShowsNothing(t *testing.T) {
	t.Parallel()
	s := remembered(t, "CANARY-51-old-token", "CANARY-51-revoked", "CANARY-51-retired")
	p, err := s.Verify(context.Background(), "CANARY-51-old-token")
	if err != nil {
		t.Fatal(err)
	}
	digest := p.Credential()
	known, _ := Remembered(rotation.SnapshotEntry{ID: digest})
	for _, v := range []any{s, p, known, struct{ s *Set }{s}, struct{ p *verify.Principal }{p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			text := fmt.Sprintf(verb, v)
			for _, form := range []string{"CANARY", fmt.Sprintf("%x", "CANARY"), "67 65 78 65 82 89", hex.EncodeToString(digest[:8])} {
				if strings.Contains(text, form) {
					t.Errorf("%T as %s: %s", v, verb, text)
				}
			}
		}
	}
}

// TestP2_SlidingWindowOverVerification: the verifier records uses of the current
// token while a window waits, and those of the old while it slides.
func TestP2_SlidingWindowOverVerification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := rotation.Window{Overlap: time.Minute, MaxOverlap: time.Hour}
		const old, current = "the-old-token-that-was", "the-new-token-that-is"
		l := advance(t, advance(t, nil, old, w), current, w)
		s := NewSet(l, SetOptions{Source: "token"})
		ok := func(token string) bool { _, err := s.Verify(t.Context(), token); return err == nil }
		time.Sleep(30 * time.Minute)
		if !ok(old) || !ok(current) {
			t.Fatal("refused while the window waits for the first use of the new token")
		}
		for range 10 {
			time.Sleep(59 * time.Second)
			if !ok(old) {
				t.Fatal("refused though it was used within the overlap")
			}
		}
		time.Sleep(time.Minute)
		if ok(old) {
			t.Error("accepted a whole overlap after its last use")
		}
	})
}

// TestSlidingCostsTheCurrentTokenNothing: once the window is open, verifying the current
// token does not read the clock.
func TestSlidingCostsTheCurrentTokenNothing(t *testing.T) {
	w := rotation.Window{Overlap: time.Minute, MaxOverlap: time.Hour}
	l := advance(t, advance(t, nil, "the-old-token-that-was", w), "the-new-token-that-is", w)
	s := NewSet(l, SetOptions{Source: "token"})
	if !l.Entries[0].Opens() {
		t.Fatal("no window waits for the new token")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Verify(context.Background(), "the-new-token-that-is") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if e := (*s.index).find("the-new-token-that-is"); e.entry.Dated() || e.entry.Opens() {
		t.Error("every use of the current token goes on asking for the clock")
	}
}
