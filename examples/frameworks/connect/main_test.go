package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestConnect calls with a client of each protocol, which must understand the refusal.
func TestConnect(t *testing.T) {
	server := httptest.NewUnstartedServer(handler(verify.Static("a-token-for-tests")))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for name, option := range map[string]connect.ClientOption{"connect": connect.WithProtoJSON(), "grpc": connect.WithGRPC(), "grpc-web": connect.WithGRPCWeb()} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure, option)
		for token, want := range map[string]connect.Code{"a-token-for-tests": 0, "another-token": connect.CodeUnauthenticated, "": connect.CodeUnauthenticated} {
			r := connect.NewRequest(&emptypb.Empty{})
			if token != "" {
				r.Header().Set("Dapr-Api-Token", token)
			}
			answer, err := client.CallUnary(t.Context(), r)
			if want == 0 && (err != nil || answer.Msg.GetValue() != "hello, static") {
				t.Errorf("%s: %v, %v", name, answer, err)
			}
			if want != 0 && connect.CodeOf(err) != want {
				t.Errorf("%s with token %q: code %v, want %v", name, token, connect.CodeOf(err), want)
			}
		}
	}
}

// TestUnavailable checks that an agent without a token answers with a code that clients may
// try again.
func TestUnavailable(t *testing.T) {
	server := httptest.NewServer(handler(verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
		return nil, verify.ErrUnavailable
	})))
	defer server.Close()
	r := connect.NewRequest(&emptypb.Empty{})
	r.Header().Set("Dapr-Api-Token", "a-token-for-tests")
	_, err := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure).CallUnary(t.Context(), r)
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("%v, want code unavailable", err)
	}
}

// TestPlainHTTP checks that other clients get 401.
func TestPlainHTTP(t *testing.T) {
	w := httptest.NewRecorder()
	handler(verify.Static("a-token-for-tests")).ServeHTTP(w, httptest.NewRequest(http.MethodGet, procedure, http.NoBody))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", w.Code)
	}
}
