package e2e

import (
	"net/http"
	"testing"
	"time"
)

// A verifier is the program as forward auth for bearer tokens.
type verifier struct {
	t   *testing.T
	url string
}

// startVerifier starts the program with args, and waits until it is ready.
func startVerifier(t *testing.T, args ...string) *verifier {
	t.Helper()
	listen, admin := loopback(freePort(t)), "http://"+loopback(freePort(t))
	start := func() *process {
		return startProcess(t, "tokenagent", built(t, tokenagentBinary), append([]string{"run", "--listen", listen, "--admin-listen", admin[len("http://"):]}, args...), nil)
	}
	d := &daemon{t: t, process: start(), start: start, admin: admin, client: &http.Client{Timeout: 5 * time.Second}}
	t.Cleanup(d.client.CloseIdleConnections)
	d.answers()
	waitFor(t, 20*time.Second, "tokenagent is ready", d.Ready)
	return &verifier{t, "http://" + listen}
}

// subject returns the subject of a token, or "" if the program refuses it.
func (v *verifier) subject(token string) string {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.url, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return res.Header.Get("X-Tokenagent-Subject")
	case http.StatusUnauthorized:
		return ""
	default:
		v.t.Fatalf("status %d", res.StatusCode)
		return ""
	}
}

// want fails the test if the subject of token is not want. A want of "" means that the
// program must refuse the token.
func (v *verifier) want(token, want string) {
	v.t.Helper()
	if got := v.subject(token); got != want {
		v.t.Errorf("the subject is %q, want %q", got, want)
	}
}

// eventually waits until the program accepts token as that of want.
func (v *verifier) eventually(token, want string) {
	v.t.Helper()
	waitFor(v.t, 20*time.Second, "the new key is accepted", func() bool { return v.subject(token) == want })
}
