package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A running is the command run in this process.
type running struct {
	front, admin string
	log          *addresses
	client       http.Client
}

// addresses is a log. It sends the address of each listener to found.
type addresses struct {
	mu    sync.Mutex
	text  bytes.Buffer
	found chan [2]string // for, addr

	once   sync.Once
	loaded chan struct{} // closed when a source is
}

var listening = regexp.MustCompile(`msg=listening for=(\S+) addr=(\S+)`)

func (a *addresses) Write(p []byte) (int, error) { // slog writes one record at a time
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := listening.FindSubmatch(p); m != nil {
		a.found <- [2]string{string(m[1]), string(m[2])}
	}
	if bytes.Contains(p, []byte("source loaded")) {
		a.once.Do(func() { close(a.loaded) })
	}
	return a.text.Write(p)
}

func (a *addresses) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// startRun runs the command run with args until the test ends. It must end with code 0.
func startRun(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{log: &addresses{found: make(chan [2]string, 2), loaded: make(chan struct{})}}
	transport := &http.Transport{DisableKeepAlives: true}
	r.client.Transport, r.client.Timeout = transport, 20*time.Second
	var out bytes.Buffer
	ended := make(chan int, 1)
	args = append([]string{"run", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	go func() { ended <- Main(ctx, "", args, strings.NewReader(""), &out, r.log) }()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 || out.Len() != 0 {
			t.Errorf("exit code %d, output %q", code, out.String())
		}
		transport.CloseIdleConnections()
		if strings.Contains(r.log.String(), "CANARY-77ab") {
			t.Errorf("the log shows a secret:\n%s", r.log)
		}
	})
	for r.front == "" || r.admin == "" {
		select {
		case at := <-r.log.found:
			if at[0] == "listen" {
				r.front = "http://" + at[1]
			} else {
				r.admin = "http://" + at[1]
			}
		case code := <-ended:
			ended <- code // for the cleanup
			t.Fatalf("run ended with %d:\n%s", code, r.log)
		case <-time.After(20 * time.Second):
			t.Fatalf("run does not listen:\n%s", r.log)
		}
	}
	return r
}

// ask presents a token to forward auth and returns the answer's code and subject.
func (r *running) ask(t *testing.T, token string) (code int, subject string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.front+"/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	return a.StatusCode, a.Header.Get("X-Tokenagent-Subject")
}

func (r *running) page(t *testing.T, path string) string {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "CANARY-77ab") {
		t.Errorf("%s shows a secret", path)
	}
	return string(text)
}

// TestRunAcceptsSignedTokens checks that inspect, verify and run accept a token of
// generate, and that run refuses others.
func TestRunAcceptsSignedTokens(t *testing.T) {
	s := newSigner(t, "ES256")
	token := s.sign(t, "--subject", "álice 100%")
	invoke(t, token, inspectBy(s.jwks)...).want(t, 0, "accepted")
	invoke(t, token, append([]string{"verify"}, by(s.jwks)...)...).want(t, 0, "accepted")

	r := startRun(t, append(by(s.jwks), "--token-file", file(t, good))...)
	for range 2 { // the second time from the cache
		if code, subject := r.ask(t, token); code != http.StatusOK || subject != "%C3%A1lice%20100%25" {
			t.Errorf("%d, subject %q", code, subject)
		}
	}
	if code, subject := r.ask(t, good); code != http.StatusOK || subject != "token" {
		t.Errorf("the shared token: %d, subject %q", code, subject)
	}
	expired := resigned(t, s, jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "x", "exp": time.Now().Add(-time.Minute).Unix()})
	for name, token := range map[string]string{
		"none": "", "expired": expired, "forged": newSigner(t, "ES256").sign(t, "--kid", s.kid(t)), "cut": token[1:], "opaque": bad,
	} {
		if code, subject := r.ask(t, token); code != http.StatusUnauthorized || subject != "" {
			t.Errorf("%s: %d, subject %q", name, code, subject)
		}
	}
	metrics := r.page(t, "/metrics")
	for _, want := range []string{
		`tokenagent_verifications_total{method="jwt",result="ok",slot="listed",source="keys"} 2`,
		`tokenagent_verifications_total{method="token",result="ok",slot="current",source="token"} 1`,
		`tokenagent_verifications_total{method="jwt",result="expired",slot="",source=""} 1`,
		`tokenagent_signature_checks_refused_total{source="keys"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is not in\n%s", want, metrics)
		}
	}
	page := r.page(t, "/")
	for _, want := range []string{s.kid(t), "ES256"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not on the page:\n%s", want, page)
		}
	}
	for _, text := range []string{metrics, r.page(t, "/"), r.page(t, "/status"), r.log.String()} {
		if _, signature, _ := strings.Cut(token[strings.Index(token, ".")+1:], "."); strings.Contains(text, signature) || strings.Contains(text, "lice 100") {
			t.Errorf("a signed token, or a claim of it, shows in\n%s", text)
		}
	}
	invoke(t, "", "status", "--agent", r.admin).want(t, 0, "source token: ready", "source keys: ready", ", kid "+s.kid(t)+", ES256")
}

// resigned signs claims with the key of s.
func resigned(t *testing.T, s signer, claims jwt.MapClaims) string {
	t.Helper()
	text, err := os.ReadFile(s.private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	j := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	j.Header["kid"] = s.kid(t)
	token, err := j.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestRunDoesNotShowItsSecret checks that run verifies by an HMAC secret and shows it on no
// page.
func TestRunDoesNotShowItsSecret(t *testing.T) {
	path, h := hmac(t)
	r := startRun(t, by(path)...)
	if code, subject := r.ask(t, h.sign(t, "--subject", "alice")); code != http.StatusOK || subject != "alice" {
		t.Errorf("%d, subject %q", code, subject)
	}
	if code, _ := r.ask(t, secret); code != http.StatusUnauthorized {
		t.Errorf("the secret itself: %d", code)
	}
	for _, path := range []string{"/", "/status", "/metrics"} {
		r.page(t, path)
	}
}

// TestRunWaitsForTheJWKS checks that a server without keys is an error, and that with
// --wait-for-source run answers 503 until the server has keys.
func TestRunWaitsForTheJWKS(t *testing.T) {
	s := newSigner(t, "EdDSA")
	text, err := os.ReadFile(s.jwks)
	if err != nil {
		t.Fatal(err)
	}
	var up atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(text)
	}))
	defer server.Close()
	args := []string{"--jwks-url", server.URL, "--issuer", issuer, "--audience", audience, "--max-stale", "1h"}
	invoke(t, "", append([]string{"run", "--listen", "127.0.0.1:0", "--admin-listen="}, args...)...).want(t, 1, "the server answers 500")

	r := startRun(t, append(args, "--wait-for-source")...)
	token := s.sign(t, "--subject", "alice")
	if code, _ := r.ask(t, token); code != http.StatusServiceUnavailable {
		t.Errorf("before there are keys: %d", code)
	}
	up.Store(true)
	select {
	case <-r.log.loaded:
	case <-time.After(20 * time.Second):
		t.Fatalf("the keys are there and not loaded:\n%s", r.log)
	}
	if code, subject := r.ask(t, token); code != http.StatusOK || subject != "alice" {
		t.Errorf("once there are keys: %d, subject %q", code, subject)
	}
}
