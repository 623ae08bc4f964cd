package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

type tokens struct{}

func (tokens) Token() (string, error) { return "a-token-for-tests", nil }

func TestClient(t *testing.T) {
	protect := httpauth.Middleware(verify.Static("a-token-for-tests"), httpauth.Options{})
	server := httptest.NewServer(protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer server.Close()
	for host, want := range map[string]int{server.Listener.Addr().String(): http.StatusOK, "another.example": http.StatusUnauthorized} {
		res, err := client(tokens{}, host).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("with the token for %s: status %d, want %d", host, res.StatusCode, want)
		}
	}
}
