package grpcauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// limit is how long a test waits for one event.
const limit = 20 * time.Second

func tokenN(n int) string { return fmt.Sprintf("canary-%016d", n) }

// TestCallersSeeNoRefusal rotates a file without overlap while callers run. At each
// rotation at least one call arrives with a token that is no longer accepted. Its caller
// must not see the refusal.
func TestCallersSeeNoRefusal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put := func(n int) {
		if err := os.WriteFile(path+".new", []byte(tokenN(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(0)
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: path, Overlap: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })

	var refused atomic.Int64
	v := verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
		p, err := a.Verify(ctx, token)
		if err != nil {
			refused.Add(1)
		}
		return p, err
	})
	held := make(chan chan struct{})
	hold := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		release := make(chan struct{})
		select {
		case held <- release: // the test is waiting for one
			<-release
		default:
		}
		return h(ctx, req)
	}
	l := loopback(t)
	host(t, l, grpc.ChainUnaryInterceptor(hold, grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})))
	c := client(t, "passthrough:///"+l.Addr().String(), retrying, sends(a, l.Addr().String()))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	late := time.AfterFunc(limit, cancel)
	defer late.Stop()
	var stop atomic.Bool
	var callers sync.WaitGroup
	done := make([]atomic.Int64, 4)
	for i := range done {
		callers.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				if _, err := c.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil && ctx.Err() == nil {
					t.Errorf("caller %d: %v", i, err)
				}
				done[i].Add(1)
			}
		})
	}
	// settle waits until every caller has finished a call that it began since.
	settle := func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := range done {
			for want := done[i].Load() + 2; done[i].Load() < want && ctx.Err() == nil; {
				<-tick.C
			}
		}
	}
	for n := 1; n <= 5 && ctx.Err() == nil; n++ {
		late.Reset(limit) // each rotation has the whole limit
		before := refused.Load()
		var release chan struct{}
		select {
		case release = <-held:
		case <-ctx.Done():
			t.Fatal("all callers have stopped")
		}
		changed := a.Updated()
		put(n)
		select {
		case <-changed:
		case <-ctx.Done():
			t.Error("the rotation was not noticed")
		}
		close(release)
		settle()
		if refused.Load() == before {
			t.Errorf("rotation %d: no call was refused, so this tests nothing", n)
		}
	}
	if ctx.Err() != nil {
		t.Errorf("a rotation and a call of each caller took more than %s", limit)
	}
	stop.Store(true)
	callers.Wait()
}
