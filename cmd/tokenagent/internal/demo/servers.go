package demo

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// servers are an HTTP and a gRPC server behind the same verifier, with a client for each.
// Answers name the slot of the accepted token in a header.
type servers struct {
	http    *http.Server
	grpc    *grpc.Server
	url     string
	client  *http.Client
	conn    *grpc.ClientConn
	serving sync.WaitGroup
}

const slotHeader = "X-Demo-Slot"

func serve(ctx context.Context, v verify.Verifier) (*servers, error) {
	var lc net.ListenConfig
	hl, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	gl, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		_ = hl.Close()
		return nil, err
	}
	conn, err := grpc.NewClient(gl.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		_, _ = hl.Close(), gl.Close()
		return nil, err
	}
	s := &servers{
		url: "http://" + hl.Addr().String(), conn: conn,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		http: &http.Server{
			Handler: httpauth.Middleware(v, httpauth.Options{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := verify.FromContext(r.Context())
				w.Header().Set(slotHeader, p.Slot().String())
			})),
			ReadHeaderTimeout: 5 * time.Second,
		},
		// A health check is a call like any other here: it needs a token.
		grpc: grpc.NewServer(grpc.ChainUnaryInterceptor(
			grpcauth.UnaryServerInterceptor(v, grpcauth.Options{NoDefaultExempt: true}),
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				p, _ := verify.FromContext(ctx)
				_ = grpc.SetHeader(ctx, metadata.Pairs(slotHeader, p.Slot().String()))
				return next(ctx, req)
			})),
	}
	healthpb.RegisterHealthServer(s.grpc, health.NewServer())
	s.serving.Go(func() { _ = s.http.Serve(hl) })
	s.serving.Go(func() { _ = s.grpc.Serve(gl) })
	return s, nil
}

func (s *servers) close() {
	s.client.CloseIdleConnections()
	_ = s.conn.Close()
	_ = s.http.Close()
	s.grpc.Stop()
	s.serving.Wait()
}

// A call sends one request with a token.
type call func(ctx context.Context, token string) answer

func (s *servers) callHTTP(ctx context.Context, token string) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return noAnswer
	}
	r.Header.Set("Dapr-Api-Token", token)
	res, err := s.client.Do(r)
	if err != nil {
		return noAnswer
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return answer(res.Header.Get(slotHeader))
	case http.StatusUnauthorized:
		return refused
	default:
		return noAnswer
	}
}

func (s *servers) callGRPC(ctx context.Context, token string) answer {
	var header metadata.MD
	_, err := healthpb.NewHealthClient(s.conn).Check(metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token),
		&healthpb.HealthCheckRequest{}, grpc.Header(&header))
	switch status.Code(err) {
	case codes.OK:
		return answer(strings.Join(header.Get(slotHeader), ""))
	case codes.Unauthenticated:
		return refused
	default:
		return noAnswer
	}
}
