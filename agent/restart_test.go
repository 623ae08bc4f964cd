package agent_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// stateFile returns a path for a state file in a directory that does not exist.
func stateFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "private", "tokens.state")
}

// rotated puts token n into the source of a and reloads a.
func rotated(t *testing.T, a *agent.Agent, path string, n int) {
	t.Helper()
	replace(t, path, tokenN(n))
	// The Agent may have read it already. Then the reload changes nothing.
	if changed, err := a.Reload(); err != nil || !changed && !accepts(a, tokenN(n)) {
		t.Fatalf("reload: %t, %v", changed, err)
	}
}

func class(a *agent.Agent, token string) string {
	_, err := a.Verify(context.Background(), token)
	if err == nil {
		return "ok"
	}
	return verify.Class(err).String()
}

// TestP8_RestartWithStateFile restarts an Agent during an overlap. The superseded token
// is accepted until the deadline that it had, and not at it.
func TestP8_RestartWithStateFile(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)), stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{TokenFile: path, PollOnly: true, Overlap: 10 * time.Minute, MaxOverlap: -1, StateFile: state}
		a := start(t, cfg)
		rotated(t, a, path, 1)
		deadline := a.Status().Sources[0].OverlapExpires
		for range 3 {
			time.Sleep(time.Minute)
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			a = start(t, cfg)
			src := a.Status().Sources[0]
			if !src.OverlapExpires.Equal(deadline) || src.StateError != "" {
				t.Fatalf("after the restart the overlap ends at %s, want %s; error %q", src.OverlapExpires, deadline, src.StateError)
			}
		}
		time.Sleep(time.Until(deadline) - 1)
		p, err := a.Verify(t.Context(), tokenN(0))
		if err != nil || p.Slot() != rotation.Previous || p.KeyID() != verify.Fingerprint(verify.Digest(tokenN(0))) {
			t.Fatalf("1 ns before the deadline: %v, %v", p, err)
		}
		time.Sleep(1)
		if got := class(a, tokenN(0)); got != "expired" {
			t.Errorf("at the deadline: %s, want expired", got)
		}
		if got := class(a, tokenN(7)); got != "invalid" {
			t.Errorf("an unknown token: %s, want invalid", got)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a = start(t, cfg)
		if accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) {
			t.Error("a restart after the deadline accepts the old token, or refuses the new one")
		}
	})
}

// TestP8_CrashLosesNothing starts a second Agent from a copy of the first one's state
// file while the first one runs, as after a SIGKILL.
func TestP8_CrashLosesNothing(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)), stateFile(t)
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: state}
	a := start(t, cfg)
	if err := a.Revoke(verify.Digest(tokenN(5))); err != nil {
		t.Fatal(err)
	}
	// The first Agent does not read the new token before it is killed.
	replace(t, path, tokenN(1))
	crashed := cfg
	crashed.StateFile = stateFile(t)
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Dir(crashed.StateFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(crashed.StateFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, crashed)
	for token, want := range map[string]string{tokenN(0): "ok", tokenN(1): "ok", tokenN(5): "revoked", tokenN(6): "invalid"} {
		if got := class(b, token); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := b.Status().Sources[0].Rotations; got != 1 {
		t.Errorf("%d rotations, want 1", got)
	}
}

// TestP8_SlidingWindowGoesOn: each poll saves the uses. After a restart, a sliding window
// has the same end, and a window that waited for the first use still waits.
func TestP8_SlidingWindowGoesOn(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)), stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{
			TokenFile: path, PollOnly: true, StateFile: state, Poll: 10 * time.Second,
			Overlap: time.Minute, MaxOverlap: time.Hour,
		}
		a := start(t, cfg)
		rotated(t, a, path, 1)
		time.Sleep(10 * time.Minute)
		if tok := a.Status().Sources[0].Tokens[1]; !tok.Waiting || !accepts(a, tokenN(0)) {
			t.Fatal("the window does not wait for the first use of the new token")
		}
		_ = a.Close()
		a = start(t, cfg)
		tok := a.Status().Sources[0].Tokens[1]
		if !tok.Waiting || tok.Cap.IsZero() || !tok.Deadline.Equal(tok.Cap) {
			t.Fatalf("after a restart: %+v", tok)
		}
		latest := tok.Cap
		if !accepts(a, tokenN(1)) {
			t.Fatal("the new token is refused")
		}
		time.Sleep(30 * time.Second)
		if !accepts(a, tokenN(0)) {
			t.Fatal("the old token is refused within the overlap")
		}
		time.Sleep(11 * time.Second) // a poll, which saves the use
		synctest.Wait()
		used := a.Status().Sources[0].PreviousLastUsed
		text, err := os.ReadFile(state)
		if err != nil || !strings.Contains(string(text), used.Format(time.RFC3339Nano)) {
			t.Fatalf("the use at %s was not saved within a poll: %v\n%s", used, err, text)
		}
		_ = a.Close()
		a = start(t, cfg)
		tok = a.Status().Sources[0].Tokens[1]
		if want := used.Add(time.Minute); tok.Waiting || !tok.Deadline.Equal(want) {
			t.Fatalf("after another restart: waiting %t, deadline %s, want %s", tok.Waiting, tok.Deadline, want)
		}
		if !tok.Cap.Equal(latest) || !tok.LastUsed.Equal(used) {
			t.Errorf("after another restart: cap %s, last used %s; want %s and %s", tok.Cap, tok.LastUsed, latest, used)
		}
		time.Sleep(time.Until(tok.Deadline))
		if got := class(a, tokenN(0)); got != "expired" {
			t.Errorf("at the deadline: %s", got)
		}
	})
}

// TestP3_RevocationOutlivesTheProcess: with a state file, a restart keeps revocations,
// also of a token that the source still declares.
func TestP3_RevocationOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)+"\n"+tokenN(1)+" next"), stateFile(t)
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: state}
	a := start(t, cfg)
	for _, n := range []int{1, 2} {
		if err := a.Revoke(verify.Digest(tokenN(n))); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a = start(t, cfg)
		for n, want := range []string{"ok", "revoked", "revoked", "invalid"} {
			if got := class(a, tokenN(n)); got != want {
				t.Errorf("token %d: %s, want %s", n, got, want)
			}
		}
		if got := a.Status().Sources[0].Revoked; got != 2 {
			t.Errorf("%d revoked, want 2", got)
		}
		if err := a.Revoke(verify.Digest(tokenN(2))); err != nil { // again
			t.Fatal(err)
		}
	}
	rotated(t, a, path, 2)
	if got := class(a, tokenN(2)); got != "revoked" {
		t.Errorf("declared current: %s, want revoked", got)
	}
}

// TestP8_DeclarationBeatsStateFile restarts an Agent with a remembered token that the
// source now declares in another way.
func TestP8_DeclarationBeatsStateFile(t *testing.T) {
	t.Parallel()
	restart := func(t *testing.T, content string) *agent.Agent {
		t.Helper()
		path := file(t, tokenN(0))
		cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t)}
		a := start(t, cfg)
		rotated(t, a, path, 1)
		_ = a.Close()
		replace(t, path, content)
		return start(t, cfg)
	}
	t.Run("current again", func(t *testing.T) {
		t.Parallel()
		a := restart(t, tokenN(0))
		for _, tok := range a.Status().Sources[0].Tokens {
			if want := tok.Slot == "previous"; tok.Deadline.IsZero() == want {
				t.Errorf("%+v", tok)
			}
		}
		if !accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) || len(a.Status().Sources[0].Tokens) != 2 {
			t.Error("after a rotation back, both tokens must be accepted, each once")
		}
	})
	t.Run("previous until", func(t *testing.T) {
		t.Parallel()
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		a := restart(t, tokenN(1)+"\n"+tokenN(0)+" previous until="+until.Format(time.RFC3339))
		if got := a.Status().Sources[0].OverlapExpires; !got.Equal(until) {
			t.Errorf("the overlap ends at %s, want %s", got, until)
		}
	})
	t.Run("previous until the past", func(t *testing.T) {
		t.Parallel()
		a := restart(t, tokenN(1)+"\n"+tokenN(0)+" previous until=2020-01-01T00:00:00Z")
		if accepts(a, tokenN(0)) {
			t.Error("accepted until its remembered deadline")
		}
	})
	t.Run("revoked", func(t *testing.T) {
		t.Parallel()
		digest := verify.Digest(tokenN(0))
		a := restart(t, tokenN(1)+"\nrevoked "+hex.EncodeToString(digest[:]))
		if got := class(a, tokenN(0)); got != "revoked" {
			t.Errorf("%s, want revoked", got)
		}
	})
	t.Run("revoked in bad content", func(t *testing.T) {
		t.Parallel()
		path := file(t, tokenN(0))
		cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t)}
		a := start(t, cfg)
		rotated(t, a, path, 1)
		_ = a.Close()
		a = start(t, cfg)
		digest := verify.Digest(tokenN(0))
		replace(t, path, tokenN(1)+"\nrevoked "+hex.EncodeToString(digest[:])+"\nrevoked nonsense")
		if _, err := a.Reload(); err == nil {
			t.Fatal("bad content is accepted")
		}
		if got := class(a, tokenN(0)); got != "revoked" {
			t.Errorf("%s, want revoked", got)
		}
	})
}

func TestP8_RetirementOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(1)+"\n"+tokenN(0)+" previous")
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t)}
	a := start(t, cfg)
	if err := a.Retire(); err != nil || accepts(a, tokenN(0)) {
		t.Fatalf("not retired: %v", err)
	}
	_ = a.Close()
	if a = start(t, cfg); accepts(a, tokenN(0)) {
		t.Error("accepted after a restart")
	}
}

// TestP8_BadStateFile starts with each kind of unusable state file. The Agent accepts the
// current token, but not the old one, and reports the error.
func TestP8_BadStateFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil    func(t *testing.T, cfg *agent.Config)
		want     string
		replaced bool
	}{
		"damaged": {func(t *testing.T, cfg *agent.Config) {
			t.Helper()
			text, err := os.ReadFile(cfg.StateFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cfg.StateFile, text[:len(text)/2], 0o600); err != nil {
				t.Fatal(err)
			}
		}, "damaged", true},
		"readable": {func(t *testing.T, cfg *agent.Config) {
			t.Helper()
			if err := os.Chmod(cfg.StateFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600", false},
		"another name":     {func(_ *testing.T, cfg *agent.Config) { cfg.Name = "other" }, "belongs to source", false},
		"another location": {func(t *testing.T, cfg *agent.Config) { t.Helper(); cfg.TokenFile = file(t, tokenN(1)) }, "belongs to source", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, tokenN(0))
			var log testlog.Log
			cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t), Logger: log.Logger()}
			a := start(t, cfg)
			rotated(t, a, path, 1)
			_ = a.Close()
			c.spoil(t, &cfg)
			before, _ := os.ReadFile(cfg.StateFile)
			a = start(t, cfg)
			if accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) || !a.Ready() {
				t.Error("must accept the current token, but not the old one")
			}
			if !strings.Contains(log.String(), "the state file is bad") || !strings.Contains(log.String(), c.want) {
				t.Errorf("not logged:\n%s", log.String())
			}
			if n := strings.Count(log.String(), "the state file is bad"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			stateError := a.Status().Sources[0].StateError
			after, _ := os.ReadFile(cfg.StateFile)
			if c.replaced {
				if stateError != "" || string(after) == string(before) {
					t.Errorf("not replaced: %q", stateError)
				}
				return
			}
			if !strings.Contains(stateError, c.want) || string(after) != string(before) {
				t.Errorf("error %q, or the file was replaced", stateError)
			}
			if err := a.Revoke(verify.Digest(tokenN(3))); err == nil || class(a, tokenN(3)) != "revoked" {
				t.Errorf("a revocation that is not saved must hold and return an error: %v", err)
			}
			// It recovers without a restart.
			if err := os.Remove(cfg.StateFile); err != nil {
				t.Fatal(err)
			}
			if err := a.Revoke(verify.Digest(tokenN(4))); err != nil || a.Status().Sources[0].StateError != "" {
				t.Errorf("still bad: %v", err)
			}
			// A state that Close cannot save is not lost in silence.
			if err := os.Chmod(cfg.StateFile, 0o644); err != nil {
				t.Fatal(err)
			}
			if a.Close() == nil {
				t.Error("Close returns no error")
			}
		})
	}
}

// TestP7_StateFileHoldsNoToken: the file contains digests of tokens, but no token.
func TestP7_StateFileHoldsNoToken(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t)}
	a := start(t, cfg)
	rotated(t, a, path, 1)
	if err := a.Revoke(verify.Digest(tokenN(2))); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	text, err := os.ReadFile(cfg.StateFile)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if hash := fmt.Sprintf("%x", verify.Digest(tokenN(n))); !strings.Contains(string(text), hash) {
			t.Errorf("the file lacks the digest of token %d", n)
		}
	}
	if strings.Contains(string(text), canary) {
		t.Error("the file contains a token")
	}
}

func TestClosedAgentRevokesNothing(t *testing.T) {
	t.Parallel()
	a := start(t, agent.Config{TokenFile: file(t, tokenN(0)), StateFile: stateFile(t)})
	_ = a.Close()
	if err := a.Revoke(verify.Digest(tokenN(0))); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
