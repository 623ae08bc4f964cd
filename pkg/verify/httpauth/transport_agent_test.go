package httpauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// limit is how long a test waits for one event.
const limit = 20 * time.Second

func tokenN(n int) string { return fmt.Sprintf("canary-%016d", n) }

// put replaces the file at path atomically.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// start starts an Agent that the test closes.
func start(t *testing.T, cfg agent.Config) *agent.Agent {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	a, err := agent.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// counting returns a Verifier that asks v, and the number of tokens that it has refused.
func counting(v verify.Verifier) (verify.Verifier, *atomic.Int64) {
	var refused atomic.Int64
	return verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
		p, err := v.Verify(ctx, token)
		if err != nil {
			refused.Add(1)
		}
		return p, err
	}), &refused
}

// Senders send one request after the other, as fast as they can. The test fails if one of
// them sees a refusal.
type senders struct {
	t      *testing.T
	cancel context.CancelFunc
	stop   atomic.Bool
	wg     sync.WaitGroup
	done   []atomic.Int64 // requests that each has finished
}

func send(t *testing.T, n int, client *http.Client, url string) *senders {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &senders{t: t, cancel: cancel, done: make([]atomic.Int64, n)}
	for i := range n {
		s.wg.Go(func() {
			for !s.stop.Load() {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("body"))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || string(body) != "body" || err != nil {
					t.Errorf("sender %d: %s %q, %v", i, resp.Status, body, err)
				}
				s.done[i].Add(1)
			}
		})
	}
	return s
}

// settle waits until every sender has finished a request that it began after
// settle was called.
func (s *senders) settle() {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range s.done {
		late := time.After(limit)
		for want := s.done[i].Load() + 2; s.done[i].Load() < want; {
			select {
			case <-tick.C:
			case <-late:
				s.t.Fatalf("sender %d has stopped", i)
			}
		}
	}
}

func (s *senders) end() {
	s.stop.Store(true)
	late := time.AfterFunc(limit, s.cancel)
	defer late.Stop()
	s.wg.Wait()
	s.cancel()
}

// echo answers with the body that it is sent.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })

// TestSendersSeeNoRefusal rotates a file without overlap while senders run. At each
// rotation at least one request arrives with a token that is no longer accepted. Its
// sender must not see the refusal.
func TestSendersSeeNoRefusal(t *testing.T) {
	for major, client := range clients(t) {
		t.Run(fmt.Sprint("HTTP ", major), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			put(t, path, tokenN(0))
			a := start(t, agent.Config{TokenFile: path, Overlap: -1})
			v, refused := counting(a)
			inner := httpauth.Middleware(v, httpauth.Options{})(echo)
			held := make(chan chan struct{})
			s := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				release := make(chan struct{})
				select {
				case held <- release: // the test is waiting for one
					<-release
				default:
				}
				inner.ServeHTTP(w, r)
			}))

			sent := &http.Client{Transport: httpauth.Transport(a, client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})}
			under := send(t, 4, sent, s.URL)
			defer under.end()
			for n := 1; n <= 5; n++ {
				before := refused.Load()
				var release chan struct{}
				select {
				case release = <-held:
				case <-time.After(limit):
					t.Fatal("all senders have stopped")
				}
				changed := a.Updated()
				put(t, path, tokenN(n))
				select {
				case <-changed:
				case <-time.After(limit):
					t.Error("the rotation was not noticed")
				}
				close(release)
				under.settle()
				if refused.Load() == before {
					t.Errorf("rotation %d: no request was refused, so this tests nothing", n)
				}
			}
		})
	}
}

// TestSendersWithAnAgentOfTheirOwn stages and promotes a token in a file that two agents
// read, one of the sender and one of the receiver. Each of them is once the later to read
// it. No request is refused, not even one that is then sent again.
func TestSendersWithAnAgentOfTheirOwn(t *testing.T) {
	client := clients(t)[1]
	for _, receiverFirst := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "token")
		put(t, path, tokenN(0))
		cfg := agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour} // reads when it is told to
		receiver, sender := start(t, cfg), start(t, cfg)
		v, refused := counting(receiver)
		s := httptest.NewServer(httpauth.Middleware(v, httpauth.Options{})(echo))
		t.Cleanup(s.Close)
		sent := &http.Client{Transport: httpauth.Transport(sender, client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})}
		order := []*agent.Agent{receiver, sender}
		if !receiverFirst {
			order = []*agent.Agent{sender, receiver}
		}
		under := send(t, 3, sent, s.URL)
		for n := 1; n <= 3; n++ {
			for _, text := range []string{
				tokenN(n-1) + "\n" + tokenN(n) + " next",
				tokenN(n) + "\n" + tokenN(n-1) + " previous",
				tokenN(n),
			} {
				put(t, path, text)
				for _, a := range order {
					if _, err := a.Reload(); err != nil {
						t.Error(err)
					}
					under.settle()
				}
			}
			if got, err := sender.Token(); got != tokenN(n) || err != nil {
				t.Errorf("the sender still sends the old token: %v", err)
			}
		}
		under.end()
		if refused.Load() != 0 {
			t.Errorf("receiver first %t: %d refused", receiverFirst, refused.Load())
		}
	}
}

// TestTransportOfAClosedAgent: no request is sent without a token.
func TestTransportOfAClosedAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, tokenN(0))
	a := start(t, agent.Config{TokenFile: path})
	w := &wire{}
	rt := httpauth.Transport(a, w, to)
	_ = a.Close()
	r, body := post(t, "https://api.example/", "b", true)
	if err := roundTrip(rt, r); !errors.Is(err, verify.ErrUnavailable) || len(w.sent) != 0 || body.closed == 0 {
		t.Errorf("%v, %d sent", err, len(w.sent))
	}
}
