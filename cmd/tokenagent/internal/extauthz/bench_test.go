package extauthz

import (
	"context"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/internal/testlog"
)

// bare answers the same call with the same messages without a decision. It costs what
// every answer over grpc-go costs.
type bare struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

func (b bare) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return b.answer, nil
}

// benchRequest is the message that Envoy sends for an ordinary request.
func benchRequest() *authv3.CheckRequest {
	return joined(":authority", "orders.example", ":path", "/orders/17?expand=lines", ":method", "POST", ":scheme", "http",
		"user-agent", "curl/8.0", "accept", "*/*", "content-type", "application/json", "x-forwarded-for", "192.0.2.7",
		"x-forwarded-proto", "http", "x-request-id", "8d2e3c0e-5a90-4c44-8a3f-0f6d4b3e7a11", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"content-length", "512", "dapr-api-token", good)
}

// BenchmarkCheck measures the decision without the call around it.
func BenchmarkCheck(b *testing.B) {
	a, _ := startAgent(b, good, (&testlog.Log{}).Logger())
	s := New(alone(a, nil), (&testlog.Log{}).Logger())
	for _, token := range []string{good, bad} {
		request := benchRequest()
		request.Attributes.Request.Http.Headers["dapr-api-token"] = token
		name := "accepted"
		if token == bad {
			name = "refused"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Check(b.Context(), request)
			}
		})
	}
}

// BenchmarkCall calls a server that decides and one that does not, in alternating blocks,
// so that other load on the machine affects both. The metric "throughput-of-bare" is the
// throughput of the first divided by that of the second.
func BenchmarkCall(b *testing.B) {
	a, _ := startAgent(b, good, (&testlog.Log{}).Logger())
	s := New(alone(a, nil), (&testlog.Log{}).Logger())
	answer, err := s.Check(b.Context(), benchRequest())
	if err != nil {
		b.Fatal(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		b.Run(network, func(b *testing.B) {
			g := grpc.NewServer()
			authv3.RegisterAuthorizationServer(g, bare{answer: answer})
			ways := [2]authv3.AuthorizationClient{authv3.NewAuthorizationClient(serve(b, g, g.Stop, network))}
			ways[1], _ = front(b, a, network)
			request := benchRequest()
			var took [2]time.Duration
			block := func(way, calls int) {
				since := time.Now()
				for range calls {
					if _, err := ways[way].Check(b.Context(), request); err != nil {
						b.Fatal(err)
					}
				}
				took[way] += time.Since(since)
			}
			block(0, 200)
			block(1, 200)
			took = [2]time.Duration{}
			b.ResetTimer()
			for range b.N {
				block(0, 10)
				block(1, 10)
			}
			b.ReportMetric(float64(took[0])/float64(took[1]), "throughput-of-bare")
			b.ReportMetric(float64(took[1])/float64(10*b.N), "ns/call")
		})
	}
}
