package rotate_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A receiver is a running agent with its admin port.
type receiver struct {
	*agent.Agent
	url string
}

func startReceiver(t *testing.T, source string) receiver {
	t.Helper()
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: source, Poll: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(a.Status()) }))
	t.Cleanup(func() {
		s.Close()
		_ = a.Close()
	})
	return receiver{a, s.URL}
}

// errRefused is wanted of a token that must be refused, in whatever class.
var errRefused = errors.New("refused")

// until waits until the receiver says of token what is wanted: nil for accepted.
func (r receiver) until(t *testing.T, token string, want error) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		changed := r.Updated()
		if _, err := r.Verify(t.Context(), token); errors.Is(err, want) || errors.Is(want, errRefused) && err != nil {
			return
		}
		select {
		case <-changed:
		case <-limit:
			_, err := r.Verify(t.Context(), token)
			t.Fatalf("%s is %v, not %v", fingerprint(token), err, want)
		}
	}
}

// The protocol against a real agent, for each kind of source: a sender that
// sends what the source calls current is never refused, whatever the moment.
func TestSendersAreNeverRefused(t *testing.T) {
	for name, source := range map[string]func(t *testing.T) path{
		"file": func(t *testing.T) path {
			p := filepath.Join(t.TempDir(), "token")
			put(t, p, one+"\n")
			return path(p)
		},
		"plain directory": func(t *testing.T) path {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "token"), one)
			return path(dir)
		},
		"laid out directory": func(t *testing.T) path {
			dir := t.TempDir()
			if err := kubemount.Write(dir, map[string][]byte{"token": []byte(one)}, 0o600); err != nil {
				t.Fatal(err)
			}
			return path(dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := source(t)
			r := startReceiver(t, string(p))
			// The sender has an agent of its own on the same source, which may be
			// ahead of the receiver's or behind it.
			sender := startReceiver(t, string(p))
			stop, sends, sending := make(chan struct{}), make(chan string), sync.WaitGroup{}
			sent := make(map[string]int)
			sending.Go(func() {
				for {
					token, err := sender.Token()
					if err == nil {
						_, err = r.Verify(context.Background(), token)
					}
					if err != nil {
						t.Errorf("a sender is refused: %v", err)
					}
					sent[token]++
					select {
					case <-stop:
						return
					case sends <- token:
					default:
					}
				}
			})
			defer func() {
				close(stop)
				sending.Wait()
				for _, token := range []string{one, two, three} {
					if sent[token] == 0 {
						t.Errorf("%s was never sent, so that nothing is shown of it", fingerprint(token))
					}
				}
			}()
			// From its return on, the sender sends token and nothing older.
			senderHas := func(token string) {
				t.Helper()
				limit := time.After(20 * time.Second)
				for {
					select {
					case got := <-sends:
						if got == token {
							return
						}
					case <-limit:
						t.Fatal("the sender does not change")
					}
				}
			}

			p.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
			p.do(t, "promote", "--agent", r.url, "--wait", "20s").want(t, 0)
			r.until(t, two, nil)
			r.until(t, one, nil)
			senderHas(two)
			p.do(t, "retire", "--agent", r.url, "--agent", sender.url, "--idle", "1ns", "--wait", "20s").want(t, 0)
			r.until(t, one, verify.ErrExpiredToken)

			p.do(t, "stage", "--from", tokenFile(t, three)).want(t, 0)
			p.do(t, "promote", "--agent", r.url, "--agent", sender.url, "--wait", "20s").want(t, 0)
			senderHas(three)
			r.until(t, two, nil)
			p.do(t, "revoke").want(t, 0)
			r.until(t, two, verify.ErrRevokedToken)
			r.until(t, three, nil)
		})
	}
}

// Gates name the agents that lag; none is asked where nothing is to be done.
func TestGates(t *testing.T) {
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "token"), one)
	elsewhere := t.TempDir()
	put(t, filepath.Join(elsewhere, "token"), one)
	r, behind := startReceiver(t, string(dir)), startReceiver(t, elsewhere)

	dir.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
	r.until(t, two, nil)
	before := dir.bytes(t)
	dir.do(t, "promote", "--agent", r.url, "--agent", behind.url).want(t, 1, "1 of 2 agents", behind.url+": it has not loaded "+fingerprint(two), "nothing was changed")
	dir.do(t, "promote", "--agent", "http://127.0.0.1:1").want(t, 1, "no answer from the agent")
	dir.do(t, "promote", "--agent", r.url, "--source", "keys").want(t, 1, "no such source")
	dir.do(t, "promote", "--agent", behind.url, "--dry-run").want(t, 1, "1 of 1 agents")
	if dir.bytes(t) != before {
		t.Error("refused, and changed all the same")
	}
	dir.do(t, "promote", "--agent", r.url, "--source", "token").want(t, 0)
	dir.do(t, "promote", "--agent", "http://127.0.0.1:1").want(t, 0, "promoted already")

	r.until(t, one, nil)
	dir.do(t, "retire", "--agent", behind.url).want(t, 1, "it still has "+fingerprint(one)+" as current")
	waitCurrent(t, r, two)
	if _, err := r.Verify(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	dir.do(t, "retire", "--agent", r.url).want(t, 1, fingerprint(one)+" was used", "less than --idle 7m")
	want(t, dir, "current=two previous=one")
	dir.do(t, "retire").want(t, 0)
	dir.do(t, "retire", "--agent", "http://127.0.0.1:1").want(t, 0, "nothing to retire")
}

func waitCurrent(t *testing.T, r receiver, token string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		changed := r.Updated()
		if got, err := r.Token(); err == nil && got == token {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatal("the agent does not take it over")
		}
	}
}

// manual starts an agent that reads its source at Reload alone.
func manual(t *testing.T, source string) *agent.Agent {
	t.Helper()
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: source, PollOnly: true, Poll: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// sources are a file and a directory with the token one.
func sources(t *testing.T) map[string]path {
	t.Helper()
	file, dir := filepath.Join(t.TempDir(), "token"), t.TempDir()
	put(t, file, one+"\n")
	put(t, filepath.Join(dir, "token"), one)
	return map[string]path{"file": path(file), "directory": path(dir)}
}

// An agent that missed the promotion, and sees the whole rotation as one change,
// does not remember the token that was retired.
func TestRetiredIsRefusedByAnAgentThatMissedThePromotion(t *testing.T) {
	for name, p := range sources(t) {
		t.Run(name, func(t *testing.T) {
			a := manual(t, string(p))
			p.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
			p.do(t, "promote").want(t, 0)
			p.do(t, "retire").want(t, 0)
			if _, err := a.Reload(); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Verify(t.Context(), one); !errors.Is(err, verify.ErrExpiredToken) {
				t.Errorf("the retired token is %v", err)
			}
			if _, err := a.Verify(t.Context(), two); err != nil {
				t.Error(err)
			}
			p.do(t, "stage", "--from", tokenFile(t, one)).want(t, 0)
			if _, err := a.Reload(); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Verify(t.Context(), one); err != nil {
				t.Errorf("the token that is staged again is %v", err)
			}
		})
	}
}

// A revocation that a re-apply deleted is remembered until unrevoke lifts it.
func TestUnrevokeLiftsWhatAnAgentRemembers(t *testing.T) {
	for name, p := range sources(t) {
		t.Run(name, func(t *testing.T) {
			a := manual(t, string(p))
			says := func(want error) {
				t.Helper()
				if _, err := a.Reload(); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Verify(t.Context(), two); !errors.Is(err, want) {
					t.Errorf("the token is %v, not %v", err, want)
				}
			}
			p.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
			says(nil)
			p.do(t, "revoke", "--slot", "next").want(t, 0)
			says(verify.ErrRevokedToken)
			p.do(t, "revoke", "--forget", id(two)).want(t, 0) // as a re-apply does
			p.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
			says(verify.ErrRevokedToken)
			p.do(t, "unrevoke", "--from", tokenFile(t, two)).want(t, 0)
			says(nil)
			p.do(t, "revoke", "--from", tokenFile(t, two)).want(t, 0)
			says(verify.ErrRevokedToken)
		})
	}
}

// Two clients of one source rotate interleaved, and no sender of either is refused.
func TestClientsRotateAtOneAgent(t *testing.T) {
	for name, p := range sources(t) {
		t.Run(name, func(t *testing.T) {
			ci, web := add(t, p, "ci", two), add(t, p, "web", three)
			r := startReceiver(t, string(p))
			accepts := func(client string, tokens ...string) {
				t.Helper()
				for _, token := range tokens {
					r.until(t, token, nil)
					if got, err := r.Verify(t.Context(), token); err != nil || got.Client() != client {
						t.Errorf("%s is of client %q, %v; want %q", fingerprint(token), got.Client(), err, client)
					}
				}
			}
			ci.do(t, "stage", "--from", tokenFile(t, four)).want(t, 0)
			web.do(t, "stage", "--from", tokenFile(t, five)).want(t, 0)
			ci.do(t, "promote", "--agent", r.url, "--wait", "20s").want(t, 0)
			accepts("ci", two, four)
			accepts("web", three, five)
			web.do(t, "promote", "--agent", r.url, "--wait", "20s", "--overlap", "1h").want(t, 0)
			ci.do(t, "retire", "--agent", r.url, "--idle", "1ns", "--wait", "20s").want(t, 0)
			r.until(t, two, verify.ErrExpiredToken)
			accepts("ci", four)
			accepts("web", three, five)
			p.do(t, "remove-client", "web").want(t, 0)
			r.until(t, three, verify.ErrRevokedToken)
			r.until(t, five, verify.ErrRevokedToken)
			accepts("ci", four)
			accepts("", one)
		})
	}
}
