package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestControl shows that these tests notice an outage: apps that read their token only
// once, as most do today, refuse requests after a rotation.
func TestControl(t *testing.T) {
	old, next := newToken(), newToken()

	for protocol, serve := range map[string]func(*testing.T, *appTally) int{
		"http": func(t *testing.T, tally *appTally) int {
			return serveHTTPApp(t, tally, fixedHTTP(old), always)
		},
		"grpc": func(t *testing.T, tally *appTally) int {
			return serveGRPCApp(t, tally, []grpc.UnaryServerInterceptor{fixedGRPC(old)}, always)
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var tally appTally
			side := newSidecar(t, sidecarConfig{
				Binary: built(t, daprdBinary), Protocol: protocol, AppPort: serve(t, &tally), Redis: startRedis(t),
			})
			side.Start(old)
			messages := startStream(t, "message", 2, 10*time.Millisecond, side.Publish, nil)
			calls := startStream(t, "call", 1, 20*time.Millisecond, side.Invoke, nil)
			waitFor(t, 20*time.Second, "everything is handled", func() bool {
				return tally.Messages.Len() >= 100 && tally.Calls.Len() >= 50 && tally.Ticks.Load() >= 2
			})
			if n := tally.Refused.Load(); n != 0 {
				t.Errorf("%d refused before the rotation", n)
			}

			// Over HTTP the app refuses the new daprd's request for subscriptions.
			// Over gRPC daprd sends that request without a token, and then the app
			// refuses each delivery.
			side.Recreate(next)
			waitFor(t, 20*time.Second, "the app refuses, and messages stay unhandled", func() bool {
				return tally.Refused.Load() > 0 && messages.Acked.Len() > tally.Messages.Len()+20
			})
			calls.Stop()
			messages.Stop()
			t.Logf("%d messages published, %d handled, %d refusals", messages.Acked.Len(), tally.Messages.Len(), tally.Refused.Load())
		})
	}
}

func fixedHTTP(token sharedToken) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Dapr-Api-Token") != string(token) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func fixedGRPC(token sharedToken) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		values := metadata.ValueFromIncomingContext(ctx, "dapr-api-token")
		if len(values) > 0 && values[0] != string(token) {
			return nil, status.Error(codes.Unauthenticated, "wrong token")
		}
		return next(ctx, req)
	}
}
