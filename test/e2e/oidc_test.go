package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestOIDC lets a real OpenID provider sign tokens for workers that never stop, and
// rotates its keys, which the agent discovers by the issuer's URL. First it stages each key, as providers do: no token is refused. Then
// it signs with keys that it has just published: a token is refused until the agent has
// read the keys again, and never after that. In the end the tokens of every withdrawn key
// are refused.
func TestOIDC(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	g := newGate(t, p)
	work := startWorkers(t, p, g, 6)

	for i := range 6 {
		next := newSigningKey(t, i)
		old := p.token(t)
		p.publish(next)
		g.await(t, "the staged key", func() bool { return g.has(next.id) })
		before := p.signWith(next)
		work.renewed(t, next.id)
		p.withdraw(before)
		g.await(t, "the end of the old key", func() bool { return !g.has(before) })
		if err := g.accepts(old); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("rotation %d: a token of a key that is gone: %v", i, err)
		}
	}
	if n := work.refused.Load(); n != 0 {
		t.Errorf("staged: %d of %d were refused; the first: %v", n, work.accepted.Load(), work.first.Load())
	}
	t.Logf("staged: %d accepted, %d refused, %d requests for the keys", work.accepted.Load(), work.refused.Load(), p.asked.Load())

	work.patient.Store(true)
	for i := range 4 {
		next := newSigningKey(t, i)
		old := p.token(t)
		before := p.replace(next)
		work.renewed(t, next.id)
		g.await(t, "the end of the old key", func() bool { return !g.has(before) })
		if err := g.accepts(old); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("hasty rotation %d: a token of a key that is gone: %v", i, err)
		}
	}
	if n := work.late.Load(); n != 0 {
		t.Errorf("hasty: %d were refused after they had been accepted, while their key was there; the first: %v", n, work.first.Load())
	}
	if n := work.accepted.Load(); n < 1000 {
		t.Errorf("only %d verifications, which are too few for a result", n)
	}
	t.Logf("in all: %d accepted, %d refused, %d requests for the keys", work.accepted.Load(), work.refused.Load(), p.asked.Load())
}

// A gate verifies tokens by the provider's keys.
type gate struct {
	*jwt.Verifier
	keys   *reload.Value[rotation.Ledger[jwt.Key]]
	source *jwks.RemoteSource
}

func newGate(t *testing.T, p *provider) *gate {
	t.Helper()
	src, err := jwks.Discover(p.url, jwks.RemoteOptions{ // by the issuer alone
		Client: p.Client(), MaxStale: 2 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{source: src}
	g.keys, err = reload.Open(src, func(prev *rotation.Ledger[jwt.Key], c reload.Content, now time.Time) (*rotation.Ledger[jwt.Key], error) {
		k, err := jwks.Parse(c.Data, src.ParseOptions())
		if err != nil {
			return nil, err
		}
		if len(k.Skipped) != 1 { // the key for encryption
			return nil, fmt.Errorf("%d keys left out", len(k.Skipped))
		}
		return rotation.Advance(prev, rotation.Content[jwt.Key]{Decls: k.Decls}, now, rotation.Window{Overlap: time.Hour}), nil
	}, reload.Options{Poll: 50 * time.Millisecond, Debounce: -1})
	if err != nil {
		t.Fatal(err)
	}
	set := func() *jwt.KeySet {
		if !src.Usable() {
			return nil
		}
		return jwt.NewKeySet(g.keys.Load(), "keys", nil, nil)
	}
	iss, err := jwt.NewIssuer(set, jwt.Config{Issuer: p.url, Audiences: []string{"sid1"}, OnUnknownKey: src.UnknownKey})
	if err != nil {
		t.Fatal(err)
	}
	g.Verifier = jwt.NewVerifier(0, iss)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.keys.Run(ctx) }()
	go func() { // these keys rotate faster than a source asks by itself
		for ctx.Err() == nil {
			src.Refresh()
			time.Sleep(200 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gate) accepts(token string) error {
	_, err := g.Verify(context.Background(), token)
	return err
}

func (g *gate) has(kid string) bool {
	return slices.ContainsFunc(g.keys.Load().Entries, func(e rotation.Entry[jwt.Key]) bool { return e.Value.KeyID() == kid })
}

func (g *gate) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		updated := g.keys.Updated()
		if done() {
			return
		}
		select {
		case <-updated:
		case <-limit:
			t.Fatalf("timed out waiting for %s; the last error: %v", what, g.keys.Stats().LastError)
		}
	}
}

// Workers take a token from the provider, present it a while and take another.
type workers struct {
	accepted, refused, late atomic.Uint64
	first                   atomic.Value // the first refusal
	patient                 atomic.Bool  // a new token may be refused at first

	mu   sync.Mutex
	kids []string // of the token that each worker holds, once it was accepted
	more chan struct{}
}

func startWorkers(t *testing.T, p *provider, g *gate, n int) *workers {
	t.Helper()
	w := &workers{kids: make([]string, n), more: make(chan struct{})}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for {
				token, kid, err := p.fetch()
				if err != nil {
					t.Errorf("the provider does not issue a token: %v", err)
					return
				}
				if !w.present(g, p, i, token, kid, stop) {
					return
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); all.Wait() })
	return w
}

// present uses one token, and reports whether to go on.
func (w *workers) present(g *gate, p *provider, i int, token, kid string, stop <-chan struct{}) bool {
	held := false
	for range 20 {
		err := g.accepts(token)
		switch {
		case err == nil:
			w.accepted.Add(1)
			if !held {
				held = true
				w.hold(i, kid)
			}
		case !p.publishes(kid):
			return true // its key was taken away meanwhile
		default:
			w.first.CompareAndSwap(nil, fmt.Sprintf("kid %s: %v", kid, err))
			w.refused.Add(1)
			if held || !w.patient.Load() {
				w.late.Add(1)
			}
		}
		select {
		case <-stop:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	return true
}

func (w *workers) hold(i int, kid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kids[i] = kid
	close(w.more)
	w.more = make(chan struct{})
}

// renewed waits until every worker holds a token of the key that was accepted.
func (w *workers) renewed(t *testing.T, kid string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		w.mu.Lock()
		more, left := w.more, slices.ContainsFunc(w.kids, func(k string) bool { return k != kid })
		w.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("not every worker has got a token of the new key accepted; the first refusal: %v", w.first.Load())
		}
	}
}
