package agent_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

// TestP4_BadFilesOfAKeyServerShow: if the CA or token file of a key server becomes
// invalid, the agent uses the last good content, so new keys still arrive. Log, status
// and metric show the error until it is fixed.
func TestP4_BadFilesOfAKeyServerShow(t *testing.T) {
	t.Parallel()
	one, two := newIssuer(t), newIssuer(t)
	var body atomic.Pointer[string]
	publish := func(keys string) { body.Store(&keys) }
	publish(`{"keys":[` + one.jwk("a") + `]}`)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer CANARY-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, *body.Load())
	}))
	defer srv.Close()
	dir := t.TempDir()
	ca, bearer := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	replace(t, ca, good)
	replace(t, bearer, "CANARY-token\n")
	var log testlog.Log
	cfg := signedBy("")
	cfg.Issuers[0].JWKSURL, cfg.Issuers[0].JWKS = srv.URL, agent.JWKS{CAFile: ca, BearerFile: bearer}
	cfg.Logger = log.Logger()
	a := start(t, cfg)
	source := func() agent.SourceStatus { return a.Status().Sources[0] }
	for path, content := range map[string]string{ca: good, bearer: "CANARY-token\n"} {
		replace(t, path, "CANARY not good")
		publish(`{"keys":[` + one.jwk("a") + `,` + two.jwk("b") + `]}`)
		if _, err := a.Reload(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Reload: %v", err)
		}
		if !accepts(a, one.sign(t, "1", time.Hour)) || !accepts(a, two.sign(t, "1", time.Hour)) {
			t.Error("a bad file changed what is accepted, or new keys no longer arrive")
		}
		if s := source(); s.LastReloadGood || !strings.Contains(s.Error, path) {
			t.Errorf("Status does not report it: %+v", s)
		}
		if got := metric(t, a, `last_reload_successful{source="keys"}`); got != "0" {
			t.Errorf("last_reload_successful %s", got)
		}
		_, _ = a.Reload()
		if n := strings.Count(log.String(), path); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, log.String())
		}
		replace(t, path, content)
		publish(`{"keys":[` + one.jwk("a") + `]}`)
		if _, err := a.Reload(); err != nil {
			t.Error(err)
		}
		if s := source(); !s.LastReloadGood || s.Error != "" || metric(t, a, `last_reload_successful{source="keys"}`) != "1" {
			t.Errorf("it does not recover: %+v", s)
		}
	}
	if strings.Contains(log.String(), "CANARY") {
		t.Errorf("the log contains the token:\n%s", log.String())
	}
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), ca) {
		t.Errorf("Start without the CA file: %v", err)
	}
}
