package statusclient_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:9464", "https://agent.example", "unix:///run/agent.sock"} {
		if err := statusclient.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "localhost", "ftp://h", "http://", "unix://", "http://u:CANARY@h:1", "http://h:CANARY-port", "://",
		"http://127.0.0.1:1/?t=CANARY", "http://127.0.0.1:1#CANARY", "http://127.0.0.1:1?", "unix:///x?CANARY",
	} {
		err := statusclient.Check(bad)
		if !errors.Is(err, statusclient.ErrURL) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := new(statusclient.Client).Ask(t.Context(), bad); !errors.Is(err, statusclient.ErrURL) {
			t.Errorf("asking %s: %v", bad, err)
		}
	}
}

// TestAskTellsTheAgentsTime: At is the time by the agent's clock.
func TestAskTellsTheAgentsTime(t *testing.T) {
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Date", at.Format(http.TimeFormat))
		_, _ = w.Write([]byte(`{"schema":1,"ready":true}`))
	})
	tcp := httptest.NewServer(handler)
	defer tcp.Close()
	socket := filepath.Join(t.TempDir(), "s")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	local.Start()
	defer local.Close()
	for _, base := range []string{tcp.URL, "unix://" + socket} {
		a, err := new(statusclient.Client).Ask(t.Context(), base)
		if err != nil || !a.At.Equal(at) || !a.Status.Ready {
			t.Errorf("%s: %+v, %v", base, a, err)
		}
	}
}

// TestRedirectsAreNoAnswer: a redirect may lead to another agent.
func TestRedirectsAreNoAnswer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("another agent was asked")
		_, _ = w.Write([]byte(`{"schema":1,"ready":true}`))
	}))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		named := httptest.NewServer(http.RedirectHandler(other.URL+"/status", code))
		if _, err := new(statusclient.Client).Ask(t.Context(), named.URL); err == nil || !strings.Contains(err.Error(), "a redirect, which may lead to another agent") {
			t.Errorf("%d: %v", code, err)
		}
		named.Close()
	}
}

func TestAskSaysWhy(t *testing.T) {
	answer, code := "", http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(answer))
	}))
	for _, c := range []struct {
		answer string
		code   int
		says   string
	}{
		{"", 404, "answers 404"},
		{"hello", 200, "does not answer with a status"},
		{`{"schema":2}`, 200, "schema 2, and this program knows 1"},
	} {
		answer, code = c.answer, c.code
		if _, err := new(statusclient.Client).Ask(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v; want %q", err, c.says)
		}
	}
	s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := new(statusclient.Client).Ask(ctx, s.URL); err == nil || !strings.Contains(err.Error(), "no answer from the agent") {
		t.Error(err)
	}
}
