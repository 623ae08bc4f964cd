package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// TestGateway calls a gRPC server, which checks the token again, through the gateway.
func TestGateway(t *testing.T) {
	v := verify.Static("a-token-for-tests")
	s := grpc.NewServer(grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(v, grpcauth.Options{NoDefaultExempt: true})))
	healthpb.RegisterHealthServer(s, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h, err := handler(v, func(mux *runtime.ServeMux) error {
		// What generated code does for a method.
		return mux.HandlePath(http.MethodGet, "/health", func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			ctx, err := runtime.AnnotateContext(r.Context(), mux, r, healthpb.Health_Check_FullMethodName)
			if err == nil {
				_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
			}
			if err != nil {
				runtime.HTTPError(ctx, mux, &runtime.JSONPb{}, w, r, err)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{"a-token-for-tests": http.StatusOK, "another-token": http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodGet, "/health", http.NoBody)
		r.Header.Set("Dapr-Api-Token", token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("status %d with token %q, want %d: %s", w.Code, token, want, w.Body)
		}
	}
}
