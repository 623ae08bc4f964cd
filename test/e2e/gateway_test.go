package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A stand is one gateway between clients and an app that checks nothing itself. Every
// request that reaches the app was accepted by the gateway.
type stand struct {
	t     *testing.T
	mount *secretMount
	view  *daemon
	dir   string // for sockets and configuration
	app   string // host:port
	// forward is where a gateway that speaks no Unix sockets asks, as host:port.
	forward string
	tokens  []sharedToken
	client  *http.Client

	// ask sends one request with headers as "Name: value" lines to the gateway.
	ask func(headers ...string) (status int, answer http.Header, err error)

	arrived atomic.Int64
	last    atomic.Pointer[http.Header] // of what arrived last
}

// newStand starts tokenagent and the app; without a token the Secret is empty.
func newStand(t *testing.T, token sharedToken, tcp bool) *stand {
	t.Helper()
	s := &stand{t: t, dir: t.TempDir(), mount: newSecretMount(t), client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	t.Cleanup(s.client.CloseIdleConnections)
	if token != "" {
		s.tokens = append(s.tokens, token)
		s.mount.Publish(map[string]string{"token": string(token)})
	}
	l := listen(t)
	s.app = l.Addr().String()
	app := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		s.arrived.Add(1)
		s.last.Store(&h)
		_, _ = io.WriteString(w, "of the app")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = app.Serve(l) })
	t.Cleanup(func() { _ = app.Close(); serving.Wait() })

	listen := "unix://" + s.socket("forward")
	if tcp {
		s.forward = loopback(freePort(t))
		listen = s.forward
	}
	admin := freePort(t)
	args := []string{
		"run", "--token-file", s.mount.Dir, "--wait-for-source", "--overlap", "10m", "--log-level", "debug",
		"--listen", listen, "--grpc-listen", "unix://" + s.socket("authz"), "--admin-listen", loopback(admin),
	}
	start := func() *process { return startProcess(t, "tokenagent", built(t, tokenagentBinary), args, nil) }
	s.view = &daemon{t: t, process: start(), start: start, admin: "http://" + loopback(admin), client: &http.Client{Timeout: 5 * time.Second}}
	t.Cleanup(s.view.client.CloseIdleConnections)
	s.view.answers()
	return s
}

func (s *stand) socket(name string) string { return filepath.Join(s.dir, name+".sock") }

// config returns a file of deploy/gateways with other addresses. The file must contain
// each replaced address.
func (s *stand) config(name string, replace ...string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "gateways", name))
	if err != nil {
		s.t.Fatal(err)
	}
	out := string(text)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(out, replace[i]) {
			s.t.Fatalf("%s does not contain %q", name, replace[i])
		}
		out = strings.ReplaceAll(out, replace[i], replace[i+1])
	}
	return out
}

func (s *stand) write(name, text string) (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// through makes ask send its requests to the gateway at base.
func (s *stand) through(base string) {
	s.ask = func(headers ...string) (int, http.Header, error) {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, base+"/orders?x=1", strings.NewReader("a body"))
		if err != nil {
			return 0, nil, err
		}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header[name] = append(r.Header[name], value)
		}
		res, err := s.client.Do(r)
		if err != nil {
			return 0, nil, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header, err
	}
}

// must returns the status of ask, and ends the test after an error.
func (s *stand) must(headers ...string) int {
	s.t.Helper()
	status, _, err := s.ask(headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

func dapr(token sharedToken) string   { return "dapr-api-token: " + string(token) }
func bearer(token sharedToken) string { return "Authorization: Bearer " + string(token) }

// installed returns the path of a gateway's program. If the program is missing,
// installed ends the test. run.sh installs it.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; install it (Debian and Ubuntu: apt-get install %s)", name, name)
	}
	return path
}

// semantics checks what every gateway must do with headers.
func (s *stand) semantics() {
	token, bad := s.tokens[0], newToken()
	for name, headers := range map[string][]string{
		"none": nil, "wrong": {dapr(bad)}, "empty decides": {"dapr-api-token: ", bearer(token)},
		"twice": {dapr(token), dapr(token)}, "basic": {"Authorization: Basic " + string(token)},
		"a forged identity alone": {"X-Tokenagent-Subject: token"},
	} {
		before := s.arrived.Load()
		status, h, err := s.ask(headers...)
		if err != nil || status != http.StatusUnauthorized || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Bearer ") {
			s.t.Errorf("%s: %d, %v, %v", name, status, h, err)
		}
		if s.arrived.Load() != before {
			s.t.Errorf("%s: the request reached the app", name)
		}
	}
	forged := []string{"X-Tokenagent-Subject: admin", "x_tokenagent_subject: admin", "X_Tokenagent-Subject: admin", "X-Tokenagent_Subject: admin", "X-Tokenagent-Method: admin", "x_tokenagent_method: admin"}
	for name, c := range map[string]struct {
		headers       []string
		authorization string
	}{
		"dapr":               {[]string{dapr(token)}, ""},
		"bearer":             {[]string{bearer(token)}, ""},
		"an end user beside": {[]string{dapr(token), "Authorization: Bearer of-the-user"}, "Bearer of-the-user"},
	} {
		status, _, err := s.ask(append(c.headers, forged...)...)
		if err != nil || status != http.StatusOK {
			s.t.Errorf("%s: %d, %v", name, status, err)
			continue
		}
		h := *s.last.Load()
		if got := h["X-Tokenagent-Subject"]; len(got) != 1 || got[0] != "token" {
			s.t.Errorf("%s: the app gets the subject %q", name, got)
		}
		if got := h["X-Tokenagent-Method"]; len(got) != 1 || got[0] != "token" {
			s.t.Errorf("%s: the app gets the method %q", name, got)
		}
		if got := h.Get("Authorization"); got != c.authorization {
			s.t.Errorf("%s: the app gets Authorization %q, want %q", name, got, c.authorization)
		}
		if all := fmt.Sprint(h); token.Leaked(all) || strings.Contains(all, "admin") {
			s.t.Errorf("%s: the app sees the token or a forged identity", name)
		}
	}
}

// rotations rotates under load, and sometimes revokes. The gateway must not refuse any
// request, and must not accept a revoked token.
func (s *stand) rotate() {
	const rotations, workers, revokeEach = 24, 4, 6
	var sending atomic.Pointer[sharedToken] // what senders have
	sending.Store(&s.tokens[0])
	var sent, refused atomic.Int64
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	var load sync.WaitGroup
	for n := range workers {
		load.Go(func() {
			for ctx.Err() == nil {
				header := dapr(*sending.Load())
				if n%2 == 1 {
					header = bearer(*sending.Load())
				}
				status, _, err := s.ask(header)
				if ctx.Err() != nil {
					return
				}
				sent.Add(1)
				if err != nil || status != http.StatusOK {
					refused.Add(1)
					s.t.Errorf("refused: %d, %v", status, err)
				}
			}
		})
	}
	goesOn := func(what string) { // some requests that began afterwards are through
		from := sent.Load()
		waitFor(s.t, 20*time.Second, what, func() bool { return sent.Load() >= from+2*workers })
	}
	revoked, accepted := 0, 0
	for n := range rotations {
		old, next := s.tokens[len(s.tokens)-1], newToken()
		s.tokens = append(s.tokens, next)
		keys := map[string]string{"token": string(next)}
		s.publish(keys, "tokenagent_token_info", labels{"slot": "current", "fingerprint": next.Fingerprint()})
		goesOn("senders go on with the old token")
		sending.Store(&next)
		goesOn("senders use the new token")
		if n%revokeEach != revokeEach-1 {
			continue
		}
		// The old token leaked, so it is revoked in the middle of its overlap.
		if s.must(dapr(old)) != http.StatusOK {
			s.t.Error("the old token is refused before the revocation")
		}
		keys["token-revoked"] = old.Digest()
		before := parseMetrics(s.t, s.view.Metrics()).Sum("tokenagent_generation", nil)
		s.mount.Publish(keys)
		waitFor(s.t, 20*time.Second, "the revocation is published", func() bool {
			return parseMetrics(s.t, s.view.Metrics()).Sum("tokenagent_generation", nil) > before
		})
		for range 25 {
			for _, header := range []string{dapr(old), bearer(old)} {
				revoked++
				if s.must(header) != http.StatusUnauthorized {
					accepted++
				}
			}
		}
	}
	stop()
	load.Wait()
	if refused.Load() != 0 || accepted != 0 || sent.Load() < rotations*workers {
		s.t.Errorf("%d of %d refused in %d rotations; %d of %d accepted after their revocation", refused.Load(), sent.Load(), rotations, accepted, revoked)
	}
	s.t.Logf("%d rotations: %d requests, %d refused; of %d with a revoked token %d accepted", rotations, sent.Load(), refused.Load(), revoked, accepted)
	everything := s.view.Log() + s.view.Metrics() + s.view.Pages()
	for _, token := range s.tokens {
		if token.Leaked(everything) {
			s.t.Error("tokenagent shows a token")
		}
	}
}

// publish swaps the Secret and waits until tokenagent shows the sample.
func (s *stand) publish(keys map[string]string, metric string, match labels) {
	s.t.Helper()
	s.mount.Publish(keys)
	waitFor(s.t, 20*time.Second, "the new token is accepted", func() bool { return parseMetrics(s.t, s.view.Metrics()).Has(metric, match) })
}
