package agent_test

import (
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// startFrom starts an Agent from a Snapshot of a, which stays open.
func startFrom(t *testing.T, a *agent.Agent, cfg agent.Config) *agent.Agent {
	t.Helper()
	from := a.Snapshot()
	cfg.From = &from
	return start(t, cfg)
}

// succeed replaces a by an Agent with cfg.
func succeed(t *testing.T, a *agent.Agent, cfg agent.Config) *agent.Agent {
	t.Helper()
	next := startFrom(t, a, cfg)
	if err := next.Merge(a.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return next
}

// wantClasses checks the class of each token in want, by number.
func wantClasses(t *testing.T, a *agent.Agent, want map[int]string) {
	t.Helper()
	for n, want := range want {
		if got := class(a, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
}

func reloaded(t *testing.T, a *agent.Agent) {
	t.Helper()
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
}

func revokedLine(n int) string {
	id := verify.Digest(tokenN(n))
	return "\nrevoked " + hex.EncodeToString(id[:])
}

// TestP2_SnapshotKeepsDeadlines replaces an Agent twice during an overlap: by one with
// another overlap, and by one with another source. Each superseded token keeps its
// deadline to the nanosecond, with and without a state file.
func TestP2_SnapshotKeepsDeadlines(t *testing.T) {
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
			a = succeed(t, a, cfg)
			wantClasses(t, a, map[int]string{0: "ok", 1: "ok", 2: "ok"})
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
			if src := a.Status().Sources[0]; src.StateError != "" {
				t.Errorf("%q: %s", state, src.StateError)
			}
		})
	}
}

// TestP2_MergeGrantsNoWindowTwice: a token that Merge supersedes gets one window, however
// often Merge is called.
func TestP2_MergeGrantsNoWindowTwice(t *testing.T) {
	t.Parallel()
	path, other := file(t, tokenN(0)), file(t, tokenN(1))
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{TokenFile: path, PollOnly: true, Overlap: 10 * time.Minute, MaxOverlap: -1}
		a := start(t, cfg)
		cfg.TokenFile = other
		b := start(t, cfg) // without From, so that Merge is what supersedes token 0
		began := time.Now()
		for range 9 {
			if err := b.Merge(a.Snapshot()); err != nil {
				t.Fatal(err)
			}
			wantClasses(t, b, map[int]string{0: "ok", 1: "ok"})
			time.Sleep(time.Minute)
		}
		if got := b.Status().Sources[0].OverlapExpires; !got.Equal(began.Add(10 * time.Minute)) {
			t.Errorf("the overlap ends %s after the first Merge", got.Sub(began))
		}
		time.Sleep(time.Minute)
		if err := b.Merge(a.Snapshot()); err != nil {
			t.Fatal(err)
		}
		wantClasses(t, b, map[int]string{0: "expired", 1: "ok"})
		_, _ = a.Close(), b.Close()
	})
}

// TestP3_SnapshotKeepsRevocations: revocations by hand and by the source hold in the
// following Agents, whatever the source declares later.
func TestP3_SnapshotKeepsRevocations(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1)+revokedLine(2))
	cfg := agent.Config{TokenFile: path, Poll: -1}
	a := start(t, cfg)
	if err := a.Revoke(verify.Digest(tokenN(1))); err != nil {
		t.Fatal(err)
	}
	replace(t, path, tokenN(0)+"\n"+tokenN(1)+"\n"+tokenN(2))
	for range 3 {
		cfg.MinTokenBytes++
		a = succeed(t, a, cfg)
		wantClasses(t, a, map[int]string{0: "ok", 1: "revoked", 2: "revoked"})
	}
	replace(t, path, tokenN(3)+"\n"+tokenN(1)+"\n"+tokenN(2))
	reloaded(t, a)
	wantClasses(t, a, map[int]string{3: "ok", 1: "revoked", 2: "revoked"})
}

// TestP3_MergeIsAUnion: after Merge, the revocations and retirements of both Agents hold,
// even if their sources no longer list them.
func TestP3_MergeIsAUnion(t *testing.T) {
	t.Parallel()
	all := "\n" + tokenN(5) + "\n" + tokenN(6) + "\n" + tokenN(7)
	path, other := file(t, tokenN(0)+all), file(t, tokenN(1)+all)
	cfg := agent.Config{TokenFile: path, Poll: -1}
	a := start(t, cfg)
	rotatedTo := tokenN(1) + all
	replace(t, path, rotatedTo)
	reloaded(t, a)
	cfg.TokenFile = other
	b := startFrom(t, a, cfg)
	wantClasses(t, b, map[int]string{0: "ok", 1: "ok", 5: "ok", 6: "ok", 7: "ok"})
	for _, x := range []struct {
		a    *agent.Agent
		path string
		n    int
	}{{a, path, 5}, {b, other, 6}} { // the source revokes the token and then stops, which does not lift it
		replace(t, x.path, rotatedTo+revokedLine(x.n))
		reloaded(t, x.a)
		replace(t, x.path, rotatedTo)
		reloaded(t, x.a)
	}
	if err := a.Revoke(verify.Digest(tokenN(7))); err != nil {
		t.Fatal(err)
	}
	if err := a.Retire(); err != nil {
		t.Fatal(err)
	}
	if err := b.Merge(a.Snapshot()); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{0: "expired", 1: "ok", 5: "revoked", 6: "revoked", 7: "revoked"}
	wantClasses(t, b, want)
	reloaded(t, b)
	wantClasses(t, b, want)
}

// TestP3_RevokeWhileAgentsMerge: a token is refused after Revoke returns, even if Merge
// runs concurrently.
func TestP3_RevokeWhileAgentsMerge(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	b := startFrom(t, a, cfg)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = b.Merge(a.Snapshot())
			}
		}
	}()
	for n := range 300 {
		if err := b.Revoke(verify.Digest(tokenN(n + 1))); err != nil {
			t.Fatal(err)
		}
		if got := class(b, tokenN(n+1)); got != "revoked" {
			t.Fatalf("revocation %d: %s", n, got)
		}
	}
	close(stop)
	<-stopped
	wantClasses(t, b, map[int]string{0: "ok", 1: "revoked", 300: "revoked"})
}

// TestP2_MergeKeepsWhatTheOtherRead: tokens that became current in the old Agent after
// the first Snapshot are accepted by the new Agent, although its own source does not
// declare them.
func TestP2_MergeKeepsWhatTheOtherRead(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(5))
	cfg := agent.Config{TokenFile: path, Poll: -1}
	a := start(t, cfg)
	cfg.TokenFile = file(t, tokenN(9)+"\n"+tokenN(8)+" next")
	b := startFrom(t, a, cfg)
	for n := 1; n <= 2; n++ {
		replace(t, path, tokenN(n)+"\n"+tokenN(7)+" next"+revokedLine(5))
		reloaded(t, a)
	}
	wantClasses(t, b, map[int]string{1: "invalid", 2: "invalid"})
	if err := b.Merge(a.Snapshot()); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	// Token 7 was never current, and b's own source does not declare it.
	wantClasses(t, b, map[int]string{0: "ok", 1: "ok", 2: "ok", 5: "revoked", 7: "invalid", 8: "ok", 9: "ok"})
	if current, err := b.Token(); err != nil || current != tokenN(9) {
		t.Errorf("the current token is another: %v", err)
	}
}

// TestP4_StartFromABadSource: with WaitForSource, the new Agent accepts what the other
// one accepted until the source is good again.
func TestP4_StartFromABadSource(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, Poll: 20 * time.Millisecond, WaitForSource: true}
	a := start(t, cfg)
	rotated(t, a, path, 1)
	replace(t, path, "short")
	cfg.Overlap, cfg.Name = time.Hour, "renamed"
	a = succeed(t, a, cfg)
	if src := a.Status().Sources[0]; !a.Ready() || !src.Ready || src.Error == "" {
		t.Errorf("ready %t, %+v", a.Ready(), src)
	}
	wantClasses(t, a, map[int]string{0: "ok", 1: "ok"})
	if p, err := a.Verify(t.Context(), tokenN(1)); err != nil || p.Source() != "renamed" {
		t.Errorf("the Principal does not have the new name: %v", err)
	}
	replace(t, path, tokenN(2))
	eventually(t, a, "it recovers", func() bool { return accepts(a, tokenN(2)) && accepts(a, tokenN(1)) && accepts(a, tokenN(0)) })
}

// TestStartFromAnUnloadedAgent: the new Agent waits for its source. Merge brings what the
// other Agent has read in the meantime.
func TestStartFromAnUnloadedAgent(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, ""), Poll: -1, WaitForSource: true}
	a := start(t, cfg)
	other := cfg
	other.TokenFile = file(t, "")
	b := startFrom(t, a, other)
	if b.Ready() || class(b, tokenN(0)) != "unavailable" {
		t.Fatalf("ready: %t", b.Ready())
	}
	if err := b.Revoke(verify.Digest(tokenN(5))); err != nil {
		t.Fatal(err)
	}
	replace(t, cfg.TokenFile, tokenN(0)+"\n"+tokenN(5))
	eventually(t, a, "the source loads", func() bool { return accepts(a, tokenN(0)) && accepts(a, tokenN(5)) })
	if err := b.Merge(a.Snapshot()); err != nil || !b.Ready() {
		t.Errorf("ready: %t, %v", b.Ready(), err)
	}
	wantClasses(t, b, map[int]string{0: "ok", 5: "revoked"})
	replace(t, other.TokenFile, tokenN(1))
	eventually(t, b, "its own source loads", func() bool { return accepts(b, tokenN(1)) })
	wantClasses(t, b, map[int]string{0: "ok", 5: "revoked"})
}

// TestStateFileHasOneWriter: the old Agent writes the state file until Merge. Then the
// new one does, even if it has another source.
func TestStateFileHasOneWriter(t *testing.T) {
	t.Parallel()
	path, other, state := file(t, tokenN(0)), file(t, tokenN(2)), stateFile(t)
	content := func() string {
		text, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cfg := agent.Config{TokenFile: path, Poll: -1, StateFile: state}
	a := start(t, cfg)
	changed := cfg
	changed.TokenFile = other
	for range 2 { // an Agent that is closed before Merge writes nothing
		was := content()
		b := startFrom(t, a, changed)
		if err := b.Revoke(verify.Digest(tokenN(9))); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil || content() != was {
			t.Fatalf("the new Agent wrote before Merge: %v", err)
		}
	}
	if err := a.Revoke(verify.Digest(tokenN(8))); err != nil {
		t.Fatal(err)
	}
	b := startFrom(t, a, changed)
	if err := a.Revoke(verify.Digest(tokenN(7))); err != nil { // after the Snapshot of b
		t.Fatal(err)
	}
	if err := b.Merge(a.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(verify.Digest(tokenN(6))); err != nil {
		t.Fatal(err)
	}
	was := content()
	if id := verify.Digest(tokenN(6)); !strings.Contains(was, hex.EncodeToString(id[:])) {
		t.Error("Revoke returned without writing the file")
	}
	if err := a.Revoke(verify.Digest(tokenN(5))); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || content() != was {
		t.Fatalf("the old Agent wrote after Merge: %v", err)
	}
	if got := b.Status().Sources[0].StateError; got != "" {
		t.Error(got)
	}
	_ = b.Close()
	wantClasses(t, start(t, changed), map[int]string{0: "ok", 2: "ok", 6: "revoked", 7: "revoked", 8: "revoked"})
}

// TestStateFileAfterClose: an Agent that starts from a closed one writes the state file.
func TestStateFileAfterClose(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1, StateFile: stateFile(t)}
	a := start(t, cfg)
	if err := a.Revoke(verify.Digest(tokenN(7))); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	b := startFrom(t, a, cfg)
	if err := b.Revoke(verify.Digest(tokenN(8))); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	wantClasses(t, start(t, cfg), map[int]string{0: "ok", 7: "revoked", 8: "revoked"})
}

// TestP3_NextAgentKnowsThePrincipal: Close ends AwaitRevocation of the old Agent. The
// next Agent knows the Principal, even if its source has another name.
func TestP3_NextAgentKnowsThePrincipal(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	p, err := a.Verify(t.Context(), tokenN(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first, b := a, a
	revoked := make(chan bool)
	go func() { revoked <- first.AwaitRevocation(ctx, p) }()
	for _, name := range []string{"other", "third"} {
		cfg.Name = name
		b = succeed(t, b, cfg)
	}
	if <-revoked || ctx.Err() != nil {
		t.Fatalf("the closed Agent reports a revocation, or does not return: %v", ctx.Err())
	}
	go func() { revoked <- b.AwaitRevocation(ctx, p) }()
	if err := b.Revoke(p.Credential()); err != nil {
		t.Fatal(err)
	}
	if !<-revoked {
		t.Error("the next Agent does not report the revocation")
	}
	if start(t, cfg).AwaitRevocation(ctx, p) || ctx.Err() != nil {
		t.Error("an unrelated Agent knows the Principal")
	}
}

// TestMergeAfterClose: Merge of a closed Agent returns ErrClosed.
func TestMergeAfterClose(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Poll: -1}
	a := start(t, cfg)
	b := startFrom(t, a, cfg)
	_ = b.Close()
	if err := b.Merge(a.Snapshot()); err != agent.ErrClosed { //nolint:errorlint // it is not wrapped
		t.Error(err)
	}
	if err := a.Merge(agent.Snapshot{}); err != nil {
		t.Error(err)
	}
	wantClasses(t, a, map[int]string{0: "ok"})
}
