package agent_test

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// succeed starts the successor of a with cfg and closes a.
func succeed(t *testing.T, a *agent.Agent, cfg agent.Config) *agent.Agent {
	t.Helper()
	cfg.Predecessor = a
	next := start(t, cfg)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestP2_SuccessorKeepsDeadlines gives an Agent another configuration in the
// middle of a rotation, another source among it, and again later: each superseded
// token keeps the deadline that it had, to the nanosecond, with a state file and
// without.
func TestP2_SuccessorKeepsDeadlines(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"", stateFile(t)} {
		path, other := file(t, tokenN(0)), file(t, tokenN(2))
		synctest.Test(t, func(t *testing.T) {
			cfg := agent.Config{TokenFile: path, PollOnly: true, Overlap: 10 * time.Minute, MaxOverlap: -1, StateFile: state}
			a := start(t, cfg)
			rotated(t, a, path, 1)
			first := a.Status().Sources[0].OverlapExpires
			time.Sleep(time.Minute)
			cfg.Overlap = time.Hour
			a = succeed(t, a, cfg)
			if got := a.Status().Sources[0]; !got.OverlapExpires.Equal(first) || got.Rotations != 1 {
				t.Fatalf("%q: the overlap ends at %s, not %s; %d rotations", state, got.OverlapExpires, first, got.Rotations)
			}
			cfg.TokenFile = other
			if state != "" {
				cfg.TokenFile = path
				replace(t, path, tokenN(2)) // a state file belongs to its source
			}
			a = succeed(t, a, cfg)
			for n := range 3 {
				if got := class(a, tokenN(n)); got != "ok" {
					t.Fatalf("%q: token %d: %s", state, n, got)
				}
			}
			time.Sleep(time.Until(first) - 1)
			if got := class(a, tokenN(0)); got != "ok" {
				t.Errorf("%q: 1 ns before its deadline: %s", state, got)
			}
			time.Sleep(1)
			if got := class(a, tokenN(0)); got != "expired" {
				t.Errorf("%q: at its deadline: %s", state, got)
			}
			last := a.Status().Sources[0].OverlapExpires
			if got := last.Sub(first).Truncate(time.Second); got != 51*time.Minute {
				t.Errorf("%q: the second overlap ends %s after the first", state, got)
			}
			time.Sleep(time.Until(last))
			if got := class(a, tokenN(1)); got != "expired" {
				t.Errorf("%q: the second at its deadline: %s", state, got)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestP3_SuccessorKeepsRevocations: what was revoked by hand stays so, before
// Start and while it runs, and under the source's later content.
func TestP3_SuccessorKeepsRevocations(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1))
	cfg := agent.Config{TokenFile: path, Poll: -1}
	a := start(t, cfg)
	if err := a.Revoke(verify.Digest(tokenN(1))); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cfg.MinTokenBytes++
		cfg.Predecessor = a
		next := start(t, cfg)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a = next
		if class(a, tokenN(0)) != "ok" || class(a, tokenN(1)) != "revoked" {
			t.Fatalf("%s, %s", class(a, tokenN(0)), class(a, tokenN(1)))
		}
	}
	replace(t, path, tokenN(2)+"\n"+tokenN(1))
	if _, err := a.Reload(); err != nil || class(a, tokenN(1)) != "revoked" {
		t.Errorf("declared again: %v, %s", err, class(a, tokenN(1)))
	}
}

// TestP3_RevocationWhileASuccessorStarts: it holds whichever of the two it met.
func TestP3_RevocationWhileASuccessorStarts(t *testing.T) {
	t.Parallel()
	for range 50 {
		cfg := agent.Config{TokenFile: file(t, tokenN(0)+"\n"+tokenN(1)), Poll: -1}
		a := start(t, cfg)
		revoked := make(chan error)
		go func() { revoked <- a.Revoke(verify.Digest(tokenN(1))) }()
		cfg.Predecessor = a
		next := start(t, cfg)
		if err := <-revoked; err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		// One that came after Start had returned is its caller's.
		if class(next, tokenN(1)) != "revoked" {
			_ = next.Revoke(verify.Digest(tokenN(1)))
		}
		if class(next, tokenN(0)) != "ok" || class(next, tokenN(1)) != "revoked" {
			t.Fatalf("%s, %s", class(next, tokenN(0)), class(next, tokenN(1)))
		}
		_ = next.Close()
	}
}

// TestP4_SuccessorThatCannotStart leaves its predecessor as it was: verifying,
// and reading its source.
func TestP4_SuccessorThatCannotStart(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, Poll: 20 * time.Millisecond}
	a := start(t, cfg)
	cfg.Predecessor = a
	for name, spoil := range map[string]func(c *agent.Config){
		"another source that is not there": func(c *agent.Config) { c.TokenFile = path + ".none" },
		"a bad configuration":              func(c *agent.Config) { c.Overlap, c.MaxOverlap = time.Hour, time.Minute },
		"another state file":               func(c *agent.Config) { c.StateFile = path + ".state" },
		"another group":                    func(c *agent.Config) { c.Group = new(agent.Group) },
	} {
		bad := cfg
		spoil(&bad)
		if next, err := agent.Start(t.Context(), bad); err == nil {
			_ = next.Close()
			t.Fatalf("%s: started", name)
		}
	}
	if got := class(a, tokenN(0)); got != "ok" {
		t.Fatalf("afterwards: %s", got)
	}
	replace(t, path, tokenN(1))
	eventually(t, a, "the predecessor reads on", func() bool { return accepts(a, tokenN(1)) && accepts(a, tokenN(0)) })
	if _, err := a.Reload(); err != nil {
		t.Error(err)
	}
}

// TestP4_SuccessorOfABadSource: with WaitForSource what the predecessor accepted
// stays so, until the source is good again.
func TestP4_SuccessorOfABadSource(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, Poll: 20 * time.Millisecond, WaitForSource: true}
	a := start(t, cfg)
	rotated(t, a, path, 1)
	replace(t, path, "short")
	cfg.Overlap = time.Hour
	a = succeed(t, a, cfg)
	if src := a.Status().Sources[0]; !a.Ready() || !src.Ready || src.Fault == "" || !accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) {
		t.Errorf("ready %t, %+v", a.Ready(), src)
	}
	replace(t, path, tokenN(2))
	eventually(t, a, "it heals", func() bool { return accepts(a, tokenN(2)) && accepts(a, tokenN(1)) && accepts(a, tokenN(0)) })
}

// TestSuccessorOfWhatHadNotLoaded waits for its source, as WaitForSource says.
func TestSuccessorOfWhatHadNotLoaded(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, ""), Poll: -1, WaitForSource: true}
	a := succeed(t, start(t, cfg), cfg)
	if a.Ready() || class(a, tokenN(0)) != "unavailable" {
		t.Fatalf("ready: %t", a.Ready())
	}
	replace(t, cfg.TokenFile, tokenN(0))
	eventually(t, a, "the source loads", func() bool { return accepts(a, tokenN(0)) })
}

// TestSuccessorIsTheOneThatWrites: what the predecessor still says in the state
// file's name does not reach it.
func TestSuccessorIsTheOneThatWrites(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)), stateFile(t)
	cfg := agent.Config{TokenFile: path, Poll: -1, StateFile: state}
	a := start(t, cfg)
	next := cfg
	next.Predecessor = a
	b := start(t, next)
	rotated(t, b, path, 1)
	if err := b.Revoke(verify.Digest(tokenN(0))); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Retire(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(state); err != nil || string(got) != string(want) {
		t.Errorf("the state file was written by the predecessor: %v", err)
	}
	_ = b.Close()
	if c := start(t, cfg); class(c, tokenN(0)) != "revoked" || class(c, tokenN(1)) != "ok" {
		t.Errorf("after a restart: %s, %s", class(c, tokenN(0)), class(c, tokenN(1)))
	}
}

// TestOneSuccessor: a chain does not fork, and one that is closed has none.
func TestOneSuccessor(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	cfg.Predecessor = a
	b := start(t, cfg)
	if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "successor already") {
		t.Errorf("a second successor: %v", err)
	}
	_ = a.Close()
	cfg.Predecessor = b
	_ = b.Close()
	if _, err := agent.Start(t.Context(), cfg); err == nil {
		t.Error("a successor of one that is closed")
	}
}

// TestP4_TakeoverTakenBack closes the successor first: the predecessor reads on,
// writes its state file again and counts on, and can have another.
func TestP4_TakeoverTakenBack(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)), stateFile(t)
	g := new(agent.Group)
	cfg := agent.Config{TokenFile: path, Poll: 20 * time.Millisecond, StateFile: state, Group: g}
	a := start(t, cfg)
	next := cfg
	next.Predecessor, next.Overlap = a, time.Minute
	for range 2 {
		b := start(t, next)
		_ = class(b, tokenN(9))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := testutil.CollectAndCount(g, "tokenagent_generation"); got != 1 {
		t.Errorf("metrics of %d agents", got)
	}
	replace(t, path, tokenN(1))
	eventually(t, a, "the predecessor reads on", func() bool { return accepts(a, tokenN(1)) && accepts(a, tokenN(0)) })
	if err := a.Revoke(verify.Digest(tokenN(0))); err != nil {
		t.Fatal(err)
	}
	b := start(t, next)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if class(b, tokenN(0)) != "revoked" || class(b, tokenN(1)) != "ok" {
		t.Errorf("%s, %s", class(b, tokenN(0)), class(b, tokenN(1)))
	}
	_ = b.Close()
	if c := start(t, cfg); class(c, tokenN(0)) != "revoked" {
		t.Errorf("after a restart: %s", class(c, tokenN(0)))
	}
}

// TestP3_WhoWaitsForARevocationFollows: who waits for what proved itself to the
// predecessor hears of a revocation that the successor learned of.
func TestP3_WhoWaitsForARevocationFollows(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	p, err := a.Verify(t.Context(), tokenN(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	heard := make(chan bool)
	go func() { heard <- a.AwaitRevocation(ctx, p) }()
	b := succeed(t, a, cfg)
	b = succeed(t, b, cfg)
	if err := b.Revoke(p.Credential()); err != nil {
		t.Fatal(err)
	}
	if !<-heard {
		t.Error("it was not heard")
	}
}

// A slow server has keys, but answers only once told to.
type slow struct {
	url           string
	asked, answer chan struct{}
}

func slowServer(t *testing.T) slow {
	t.Helper()
	s := slow{asked: make(chan struct{}, 1), answer: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case s.asked <- struct{}{}:
		default:
		}
		<-s.answer
		_, _ = w.Write([]byte(`{"keys":[]}`))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// startSlowly starts a successor of a, which waits for the server when
// startSlowly returns.
func (s slow) startSlowly(t *testing.T, a *agent.Agent, cfg agent.Config) (started <-chan *agent.Agent) {
	t.Helper()
	cfg.Predecessor, cfg.JWKSURL, cfg.JWT, cfg.WaitForSource = a, s.url, signedBy("").JWT, true
	got := make(chan *agent.Agent, 1)
	go func() { got <- start(t, cfg) }()
	<-s.asked
	return got
}

// TestP3_ChangesByHandWhileASuccessorStarts: what the predecessor revokes and
// retires while its successor waits for a server holds in both, and so does what it
// is told to afterwards.
func TestP3_ChangesByHandWhileASuccessorStarts(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"", stateFile(t)} {
		path := file(t, tokenN(0)+"\n"+tokenN(5)+"\n"+tokenN(6))
		cfg := agent.Config{TokenFile: path, Poll: -1, StateFile: state}
		a := start(t, cfg)
		replace(t, path, tokenN(1)+"\n"+tokenN(5)+"\n"+tokenN(6))
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		s := slowServer(t)
		started := s.startSlowly(t, a, cfg)
		if err := a.Revoke(verify.Digest(tokenN(5))); err != nil {
			t.Fatal(err)
		}
		if err := a.Retire(); err != nil {
			t.Fatal(err)
		}
		close(s.answer)
		b := <-started
		if err := a.Revoke(verify.Digest(tokenN(6))); err != nil {
			t.Fatal(err)
		}
		for _, x := range []*agent.Agent{a, b} {
			for n, want := range map[int]string{0: "expired", 1: "ok", 5: "revoked", 6: "revoked"} {
				if got := class(x, tokenN(n)); got != want {
					t.Errorf("%q: token %d: %s, want %s", state, n, got, want)
				}
			}
		}
		_ = a.Close()
		if err := a.Revoke(verify.Digest(tokenN(1))); err != nil || class(b, tokenN(1)) != "revoked" {
			t.Errorf("%q: through one that is closed: %v", state, err)
		}
		_ = b.Close()
		if state == "" {
			continue
		}
		cfg.JWKSURL, cfg.JWT, cfg.WaitForSource = s.url, signedBy("").JWT, true
		c := start(t, cfg)
		for n, want := range map[int]string{0: "expired", 1: "revoked", 5: "revoked", 6: "revoked"} {
			if got := class(c, tokenN(n)); got != want {
				t.Errorf("after a restart: token %d: %s, want %s", n, got, want)
			}
		}
	}
}

// TestP1_PredecessorReadsWhileASuccessorStarts: a rotation and a revocation in the
// source are not late for it, Reload does not wait, and the successor has them.
func TestP1_PredecessorReadsWhileASuccessorStarts(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, Poll: 20 * time.Millisecond}
	a := start(t, cfg)
	s := slowServer(t)
	started := s.startSlowly(t, a, cfg)
	replace(t, path, tokenN(1))
	eventually(t, a, "the rotation", func() bool { return accepts(a, tokenN(1)) })
	replace(t, path, tokenN(2)+"\nrevoked "+hex.EncodeToString(digest(tokenN(0))))
	eventually(t, a, "the revocation", func() bool { return accepts(a, tokenN(2)) && class(a, tokenN(0)) == "revoked" })
	if _, err := a.Reload(); err != nil {
		t.Error(err)
	}
	close(s.answer)
	b := <-started
	_ = a.Close()
	for n, want := range map[int]string{0: "revoked", 1: "ok", 2: "ok"} {
		if got := class(b, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
}

// TestP3_ChangesByHandOutliveATakeoverTakenBack: what the successor revoked and
// retired holds in the predecessor that goes on, and in its state file.
func TestP3_ChangesByHandOutliveATakeoverTakenBack(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)+"\n"+tokenN(5)), stateFile(t)
	cfg := agent.Config{TokenFile: path, Poll: -1, StateFile: state}
	a := start(t, cfg)
	replace(t, path, tokenN(1)+"\n"+tokenN(5))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	next := cfg
	next.Predecessor = a
	b := start(t, next)
	if err := errors.Join(b.Revoke(verify.Digest(tokenN(5))), b.Retire(), b.Close()); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{0: "expired", 1: "ok", 5: "revoked"}
	for n, want := range want {
		if got := class(a, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
	if err := a.Revoke(verify.Digest(tokenN(7))); err != nil { // by one that lives again
		t.Error(err)
	}
	_ = a.Close()
	c := start(t, cfg)
	for n, want := range want {
		if got := class(c, tokenN(n)); got != want {
			t.Errorf("after a restart: token %d: %s, want %s", n, got, want)
		}
	}
}

// TestP3_CatchUp: what the predecessor read after Start is in its successor before
// requests are, whatever that reads itself.
func TestP3_CatchUp(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(5))
	cfg := agent.Config{TokenFile: path, Poll: -1}
	a := start(t, cfg)
	cfg.TokenFile, cfg.Predecessor = file(t, tokenN(9)), a
	b := start(t, cfg)
	replace(t, path, tokenN(1)+"\nrevoked "+hex.EncodeToString(digest(tokenN(5))))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := b.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if err := b.CatchUp(t.Context()); err != nil { // and that is all
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "ok", 1: "ok", 5: "revoked", 9: "ok"} { // b's own source revokes nothing, but b remembers
		if got := class(b, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
}

// TestClosingTheMiddleOfAChain: the first does not come back beside the last.
func TestClosingTheMiddleOfAChain(t *testing.T) {
	t.Parallel()
	g := new(agent.Group)
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1, Group: g}
	a := start(t, cfg)
	cfg.Predecessor = a
	b := start(t, cfg)
	cfg.Predecessor = b
	c := start(t, cfg)
	_ = b.Close()
	if got := testutil.CollectAndCount(g, "tokenagent_generation"); got != 1 {
		t.Errorf("metrics of %d agents", got)
	}
	if err := a.Revoke(verify.Digest(tokenN(0))); err != nil || class(c, tokenN(0)) != "revoked" {
		t.Errorf("%v, %s", err, class(c, tokenN(0)))
	}
}

// TestOneOfTwoSuccessors: two that start at once are one too many.
func TestOneOfTwoSuccessors(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	s := slowServer(t)
	cfg.Predecessor, cfg.JWKSURL, cfg.JWT, cfg.WaitForSource = a, s.url, signedBy("").JWT, true
	type result struct {
		a   *agent.Agent
		err error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			b, err := agent.Start(t.Context(), cfg)
			results <- result{b, err}
		}()
		<-s.asked
	}
	close(s.answer)
	started := 0
	for range 2 {
		switch r := <-results; {
		case r.err == nil:
			started++
			defer r.a.Close()
		case !strings.Contains(r.err.Error(), "successor already"):
			t.Error(r.err)
		}
	}
	if started != 1 {
		t.Errorf("%d successors", started)
	}
}

func digest(token string) []byte {
	id := verify.Digest(token)
	return id[:]
}
