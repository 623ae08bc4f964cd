package extauthz

import (
	"context"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
)

// bare is what every answer over grpc-go costs: the same call with the same
// messages, and nothing decided.
type bare struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

func (b bare) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return b.answer, nil
}

// benchRequest is what Envoy sends for an ordinary request.
func benchRequest() *authv3.CheckRequest {
	return joined(":authority", "orders.example", ":path", "/orders/17?expand=lines", ":method", "POST", ":scheme", "http",
		"user-agent", "curl/8.0", "accept", "*/*", "content-type", "application/json", "x-forwarded-for", "192.0.2.7",
		"x-forwarded-proto", "http", "x-request-id", "8d2e3c0e-5a90-4c44-8a3f-0f6d4b3e7a11", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"content-length", "512", "dapr-api-token", good)
}

func BenchmarkCheck(b *testing.B) {
	a, _ := startAgent(b, good, (&logbook{}).logger())
	s := New(a, nil, (&logbook{}).logger())
	answer, _ := s.Check(b.Context(), benchRequest())
	for _, network := range []string{"tcp", "unix"} {
		for _, way := range []string{"bare", "agent", "refused"} {
			b.Run(network+"/"+way, func(b *testing.B) {
				request := benchRequest()
				g := grpc.NewServer()
				switch way {
				case "bare":
					authv3.RegisterAuthorizationServer(g, bare{answer: answer})
				case "refused":
					request.Attributes.Request.Http.Headers["dapr-api-token"] = bad
					fallthrough
				default:
					g = New(a, nil, (&logbook{}).logger()).grpc
				}
				c := authv3.NewAuthorizationClient(serve(b, g, g.Stop, network))
				check(b, c, request)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := c.Check(b.Context(), request); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
