package jwks

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A provider answers requests without a network, so that a fake clock can run.
type provider struct {
	mu     sync.Mutex
	answer reply
	times  []time.Time
	flying int
	most   int // requests at the same time
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.times = append(p.times, time.Now())
	p.flying++
	p.most = max(p.most, p.flying)
	answer := p.answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.flying--
		p.mu.Unlock()
	}()
	a := answer(r)
	if a.err != nil {
		return nil, a.err
	}
	h := make(http.Header)
	for i := 0; i < len(a.headers); i += 2 {
		h.Add(a.headers[i], a.headers[i+1])
	}
	return &http.Response{StatusCode: a.code, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.times)
}

func (p *provider) says(answer reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// A reply is what the provider does with a request.
type reply func(*http.Request) replied

type replied struct {
	code    int
	body    string
	headers []string // pairs
	err     error
}

func says(code int, body string, headers ...string) reply {
	return func(*http.Request) replied { return replied{code, body, headers, nil} }
}

func hangs(r *http.Request) replied {
	<-r.Context().Done()
	return replied{err: r.Context().Err()}
}

const address = "https://idp.example/jwks?token=CANARY"

func remote(t *testing.T, o RemoteOptions, answer reply) (*RemoteSource, *provider) {
	t.Helper()
	p := &provider{answer: answer}
	o.Client = &http.Client{Transport: p}
	s, err := Remote(address, o)
	check(t, err)
	return s, p
}

func read(t *testing.T, s *RemoteSource) string {
	t.Helper()
	c, err := s.Read(t.Context(), maxBytes)
	if err != nil {
		if text := err.Error(); !strings.HasPrefix(text, "https://idp.example/jwks: ") || strings.Contains(text, "CANARY") || strings.Contains(text, "?") {
			t.Errorf("the error shows what it must not, or not where: %v", err)
		}
		return "error: " + err.Error()
	}
	return string(c.Data)
}

// A follower is what an agent makes of the source.
type follower struct {
	*reload.Value[rotation.Ledger[jwt.Key]]
	*jwt.Verifier
}

func followed(t *testing.T, s *RemoteSource) follower {
	t.Helper()
	v, err := reload.Open(s, func(prev *rotation.Ledger[jwt.Key], c reload.Content, now time.Time) (*rotation.Ledger[jwt.Key], error) {
		k, err := Parse(c.Data, s.ParseOptions())
		if err != nil {
			return nil, err
		}
		return rotation.Advance(prev, rotation.Content[jwt.Key]{Decls: k.Decls}, now, rotation.Window{Overlap: time.Hour}), nil
	}, reload.Options{Debounce: -1, Wait: true})
	check(t, err)
	iss, err := jwt.NewIssuer(func() *jwt.KeySet {
		if !s.Usable() {
			return nil
		}
		return jwt.NewKeySet(v.Load(), "keys", nil, nil)
	}, jwt.Config{Issuer: "issuer", Audiences: []string{"audience"}, OnUnknownKey: s.UnknownKey})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-ended)
	})
	synctest.Wait()
	return follower{v, jwt.NewVerifier(0, iss)}
}

func (f follower) accepts(token string) error {
	_, err := f.Verify(context.Background(), token)
	return err
}
