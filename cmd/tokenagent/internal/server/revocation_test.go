package server

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// TestP3_RevocationEndsOpenRequests, if EndRevoked is set.
func TestP3_RevocationEndsOpenRequests(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte(good))
	revoke := "revoked " + hex.EncodeToString(digest[:]) + "\n" + next
	a, path := startAgent(t, good)
	u, conns, _ := chatter(t)
	client, server := open(t, front(t, a, Options{Upstream: u, EndRevoked: true}), conns)
	stays, staysApp := open(t, front(t, a, Options{Upstream: u}), conns)

	gone := make(chan struct{})
	stream := dialRaw(t, front(t, a, Options{EndRevoked: true, Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))}))
	stream.say(t, "GET / HTTP/1.1\r\nHost: x\r\ndapr-api-token: "+good+"\r\n\r\n")
	res := stream.answer(t)
	if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	// A rotation ends none of them.
	write(t, path, next)
	until(t, "the new token is accepted", func() bool { token, _ := a.Token(); return token == next })
	client.say(t, frame)
	server.hear(t, frame)

	write(t, path, revoke)
	client.ended(t)
	server.ended(t)
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a stream that was cut looks complete")
	}
	<-gone
	stays.say(t, frame)
	staysApp.hear(t, frame)
}

// TestP3_RevocationEndsAWriteThatNobodyReads: cancelling a context does not end a write.
func TestP3_RevocationEndsAWriteThatNobodyReads(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	more, gone := make(chan struct{}), make(chan struct{})
	o := Options{EndRevoked: true, Logger: slog.New(slog.DiscardHandler), Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "stuck")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))}
	s := newMain(o, single(a, o))
	l := servePipes(t, s)
	client := l.dial(t)
	client.say(t, "GET / HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
	client.answer(t)
	l.said("stuck", func() { close(more) })
	if err := a.Revoke(sha256.Sum256([]byte(good))); err != nil {
		t.Fatal(err)
	}
	<-gone
	ended := make(chan struct{})
	go func() { _ = s.Shutdown(t.Context()); close(ended) }()
	select {
	case <-ended:
	case <-time.After(15 * time.Second): // the client gives up after 20 s
		t.Error("the request goes on")
	}
}

// TestP3_RevocationEndsTunnelsOfAReplacedAgent: the realm has changed since the tunnel was
// opened, so the agent that replaced its agent reads the revocation.
func TestP3_RevocationEndsTunnelsOfAReplacedAgent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token, file := filepath.Join(dir, "token"), filepath.Join(dir, "realms")
	write(t, token, good)
	write(t, file, "1h")
	u, conns, _ := chatter(t)
	o := Options{Upstream: u, EndRevoked: true, Logger: slog.New(slog.DiscardHandler)}
	set, err := realm.Open(t.Context(), file, func(c reload.Content) (*realm.Plan, error) {
		overlap, err := time.ParseDuration(string(c.Data))
		return &realm.Plan{Specs: []realm.Spec{{Name: "a", Hosts: []string{"x"}, Config: agent.Config{
			Name: "a", TokenFile: token, Overlap: overlap, Poll: -1, Debounce: -1, Logger: o.Logger,
		}}}}, err
	}, realm.Options{Auth: o.Auth(), Poll: -1, Debounce: -1, Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	s := newMain(o, set)
	client, server := open(t, serve(t, s), conns)
	of := func() *agent.Agent {
		table := set.Table()
		return table.ByHost("x").Agent
	}
	old := of()
	write(t, file, "2h")
	until(t, "the realm has another agent", func() bool { _, err := set.Reload(); return err == nil && of() != old })
	_ = old.Close()      // as the realm does; from here on it hears of nothing
	client.say(t, frame) // goes on
	server.hear(t, frame)
	digest := sha256.Sum256([]byte(good))
	write(t, token, "revoked "+hex.EncodeToString(digest[:])+"\n"+next)
	if _, err := set.Reload(); err != nil {
		t.Fatal(err)
	}
	client.ended(t)
	server.ended(t)
}

// TestP3_ReapplyUnrevokesNothingOverHTTP: someone applies content from before the
// revocation again, which declares the leaked token. Requests with the token stay refused,
// and the admin port reports that, until the source lifts the revocation.
func TestP3_ReapplyUnrevokesNothingOverHTTP(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte(good))
	word := hex.EncodeToString(digest[:])
	a, path := startAgent(t, good)
	base := front(t, a, Options{})
	status := func(token string) int { return ask(t, http.MethodGet, base+"/verify", "dapr-api-token: "+token).code }
	if got := status(good); got != http.StatusOK {
		t.Fatalf("before the revocation: %d", got)
	}
	write(t, path, next+"\nrevoked "+word+"\n")
	until(t, "it is revoked", func() bool { return status(good) == http.StatusUnauthorized })
	for _, content := range []string{good, next + "\n" + good, next + "\n" + good + " previous"} {
		write(t, path, content)
		until(t, "the source is read, and what it declares is told of", func() bool {
			_, _ = a.Reload()
			return len(a.Status().Sources[0].RevokedDeclared) == 1
		})
		if got := status(good); got != http.StatusUnauthorized {
			t.Errorf("declared again: %d, want 401", got)
		}
	}
	write(t, path, good+"\nunrevoked "+word+"\n")
	until(t, "the revocation is lifted", func() bool { return status(good) == http.StatusOK })
}
