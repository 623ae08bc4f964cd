package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestThousandRotationsUnderVerification rotates a mounted Secret a thousand times and
// revokes every fifth token, while two goroutines verify tokens. A result is wrong if it
// was right at no moment of its verification.
func TestThousandRotationsUnderVerification(t *testing.T) {
	t.Parallel()
	rotations := 1000
	if testing.Short() {
		rotations = 100
	}
	dir := t.TempDir()
	// begun counts the tokens that were written to the source, and done those that were
	// accepted. The other two count revocations in the same way.
	var begun, done, revokeBegun, revokeDone atomic.Int64
	put := func(n int) {
		if err := kubemount.Write(dir, map[string][]byte{"token": []byte(tokenN(n))}, 0o400); err != nil {
			t.Error(err)
		}
	}
	put(0)
	a := start(t, agent.Config{TokenFile: dir, Poll: -1})
	begun.Store(1)
	done.Store(1)

	// Every fifth token is revoked once it is five rotations old.
	revoked := func(n, upTo int64) bool { return n%5 == 0 && n < upTo }
	var stop atomic.Bool
	var verifiers sync.WaitGroup
	for v := range 2 {
		verifiers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(v), 1))
			for ; !stop.Load(); runtime.Gosched() { // leave a core for the rotations
				low, revokedLow := done.Load(), revokeDone.Load()
				n := r.Int64N(low + 3)
				_, err := a.Verify(t.Context(), tokenN(int(n)))
				high, revokedHigh := begun.Load(), revokeBegun.Load()
				var wrong string
				switch {
				case revoked(n, revokedLow):
					if !errors.Is(err, verify.ErrRevokedToken) {
						wrong = "revoked before"
					}
				case revoked(n, revokedHigh):
					if err != nil && !errors.Is(err, verify.ErrRevokedToken) {
						wrong = "being revoked"
					}
				case n < low:
					if err != nil {
						wrong = "accepted before, in its overlap"
					}
				case n >= high:
					if !errors.Is(err, verify.ErrInvalidToken) {
						wrong = "not declared yet"
					}
				}
				if wrong != "" {
					t.Errorf("token %d of %d to %d, %s: %v", n, low, high, wrong, err)
					return
				}
			}
		})
	}
	for n := 1; n <= rotations && !t.Failed(); n++ {
		begun.Store(int64(n + 1))
		put(n)
		eventually(t, a, fmt.Sprintf("rotation %d is published", n), func() bool { return accepts(a, tokenN(n)) })
		done.Store(int64(n + 1))
		if old := n - 5; old >= 0 && old%5 == 0 {
			revokeBegun.Store(int64(old + 1))
			if err := a.Revoke(verify.Digest(tokenN(old))); err != nil {
				t.Error(err)
			}
			revokeDone.Store(int64(old + 1))
		}
	}
	stop.Store(true)
	verifiers.Wait()
	if got := a.Status().Sources[0].Rotations; got != uint64(rotations) && !t.Failed() {
		t.Errorf("%d rotations counted, want %d", got, rotations)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "..2*")); len(left) != 1 {
		t.Errorf("the mount holds %d versions", len(left))
	}
}
