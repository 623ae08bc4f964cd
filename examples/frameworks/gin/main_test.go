package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestGin(t *testing.T) {
	h := handler(verify.Static("a-token-for-tests"))
	for token, want := range map[string]int{"a-token-for-tests": http.StatusOK, "another-token": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		for path, found := range map[string]bool{"/hello": true, "/unknown": false} {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			if token != "" {
				r.Header.Set("Dapr-Api-Token", token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if want, got := status(want, found), w.Code; got != want {
				t.Errorf("%s with token %q: status %d, want %d", path, token, got, want)
			}
			if w.Code == http.StatusOK && !strings.Contains(w.Body.String(), "hello, static") {
				t.Errorf("the handler does not know the caller: %q", w.Body)
			}
		}
	}
}

func status(code int, found bool) int {
	if code == http.StatusOK && !found {
		return http.StatusNotFound
	}
	return code
}
