package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestSlog(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(callerHandler{slog.NewJSONHandler(&log, nil)}))
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header.Set("Dapr-Api-Token", "a-token-for-tests")
	handler(verify.Static("a-token-for-tests")).ServeHTTP(httptest.NewRecorder(), r)
	if line := log.String(); !strings.Contains(line, `"caller":"static","slot":"current"`) || strings.Contains(line, "a-token") {
		t.Errorf("the log has %s", line)
	}
}
