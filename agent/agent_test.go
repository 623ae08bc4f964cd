package agent_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP1_DeclaredIsAccepted follows a mounted Secret and a plain file without polling, so
// that only events report a change.
func TestP1_DeclaredIsAccepted(t *testing.T) {
	t.Parallel()
	t.Run("mounted secret", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		put := func(n int) {
			if err := kubemount.Write(dir, map[string][]byte{"token": []byte(tokenN(n) + "\n")}, 0o400); err != nil {
				t.Fatal(err)
			}
		}
		put(0)
		a := start(t, agent.Config{TokenFile: dir, Poll: -1})
		for n := range 5 {
			put(n + 1)
			eventually(t, a, "the new token is accepted", func() bool { return accepts(a, tokenN(n+1)) })
			if !accepts(a, tokenN(n)) {
				t.Fatal("the superseded token is refused within its overlap")
			}
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		path := file(t, tokenN(0))
		a := start(t, agent.Config{TokenFile: path, Poll: -1})
		replace(t, path, tokenN(1))
		eventually(t, a, "the new token is accepted", func() bool { return accepts(a, tokenN(1)) })
	})
	t.Run("env file", func(t *testing.T) {
		t.Parallel()
		path := file(t, "OTHER=x\nexport APP_API_TOKEN='"+tokenN(0)+"'\n")
		a := start(t, agent.Config{EnvFile: path, Poll: -1})
		replace(t, path, "APP_API_TOKEN="+tokenN(1)+"\n")
		eventually(t, a, "the new token is accepted", func() bool { return accepts(a, tokenN(1)) })
	})
}

// TestP2_OverlapEndsAtItsDeadline runs a rotation on a fake clock, to the
// nanosecond.
func TestP2_OverlapEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	synctest.Test(t, func(t *testing.T) {
		a := start(t, agent.Config{TokenFile: path, PollOnly: true, Overlap: 10 * time.Minute})
		replace(t, path, tokenN(1))
		if changed, err := a.Reload(); err != nil || !changed {
			t.Fatalf("reload: %t, %v", changed, err)
		}
		deadline := a.Status().Sources[0].OverlapExpires
		time.Sleep(time.Until(deadline) - 1)
		p, err := a.Verify(t.Context(), tokenN(0))
		if err != nil || p.Slot() != rotation.Previous {
			t.Fatalf("1 ns before the deadline: %v, %v", p, err)
		}
		time.Sleep(1)
		if _, err := a.Verify(t.Context(), tokenN(0)); !errors.Is(err, verify.ErrExpiredToken) {
			t.Fatalf("at the deadline: %v", err)
		}
		if !accepts(a, tokenN(1)) {
			t.Error("the current token is refused")
		}
		if s := a.Status().Sources[0]; len(s.Tokens) != 1 || !s.OverlapExpires.IsZero() {
			t.Errorf("status still shows what is refused: %+v", s.Tokens)
		}
		_ = a.Close()
	})
}

// TestDefaultWindow: a superseded token is accepted until the new one is used, then
// for 15 minutes after its own last use, and for 24 hours after the switch at most.
func TestDefaultWindow(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	const none = time.Duration(0)
	for name, c := range map[string]struct {
		overlap, most time.Duration
		window, limit time.Duration // after the first use of the new token; at most, where it slides
	}{
		"zero Config":        {0, 0, 15 * time.Minute, 24 * time.Hour},
		"Overlap":            {time.Hour, 0, time.Hour, 24 * time.Hour},
		"a long Overlap":     {48 * time.Hour, 0, 48 * time.Hour, 48 * time.Hour},
		"MaxOverlap":         {0, time.Hour, 15 * time.Minute, time.Hour},
		"fixed":              {0, -1, 15 * time.Minute, none},
		"fixed, of an hour":  {time.Hour, -1, time.Hour, none},
		"none":               {-1, 0, none, none},
		"none, and no slide": {-1, -1, none, none},
	} {
		synctest.Test(t, func(t *testing.T) {
			replace(t, path, tokenN(0))
			a := start(t, agent.Config{TokenFile: path, PollOnly: true, Overlap: c.overlap, MaxOverlap: c.most})
			rotated(t, a, path, 1)
			left := func() time.Duration {
				if until := a.Status().Sources[0].OverlapExpires; !until.IsZero() {
					return time.Until(until)
				}
				return none
			}
			if want := cmp.Or(c.limit, c.window); left() != want {
				t.Errorf("%s: until the new token is used the old one has %s, want %s", name, left(), want)
			}
			if !accepts(a, tokenN(1)) || left() != c.window {
				t.Errorf("%s: after that it has %s, want %s", name, left(), c.window)
			}
			_ = a.Close()
		})
	}
}

// TestP3_RevocationHoldsWhenRevokeReturns revokes a token of each slot and an unknown
// token. All stay refused after a reload of a source that declares them again.
func TestP3_RevocationHoldsWhenRevokeReturns(t *testing.T) {
	t.Parallel()
	path := file(t, fmt.Sprintf("%s\n%s next\n%s previous\n%s", tokenN(0), tokenN(1), tokenN(2), tokenN(3)))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	for n := range 5 {
		if n < 4 && !accepts(a, tokenN(n)) {
			t.Fatalf("token %d is refused before its revocation", n)
		}
		if err := a.Revoke(verify.Digest(tokenN(n))); err != nil {
			t.Error(err)
		}
		if _, err := a.Verify(t.Context(), tokenN(n)); !errors.Is(err, verify.ErrRevokedToken) {
			t.Errorf("token %d after Revoke: %v", n, err)
		}
	}
	if _, err := a.Token(); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("Token returns a revoked token: %v", err)
	}
	replace(t, path, tokenN(4)+"\n"+tokenN(0))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 4} {
		if _, err := a.Verify(t.Context(), tokenN(n)); !errors.Is(err, verify.ErrRevokedToken) {
			t.Errorf("token %d declared again: %v, want revoked", n, err)
		}
	}
}

// TestP3_RevocationInBadContent: the revocation in invalid content takes effect; the rest
// is ignored.
func TestP3_RevocationInBadContent(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	replace(t, path, fmt.Sprintf("not a token, this\nrevoked %x\n", verify.Digest(tokenN(1))))
	generation := a.Status().Sources[0].Generation
	for range 3 {
		if _, err := a.Reload(); err == nil || !strings.Contains(err.Error(), path+":1: ") {
			t.Fatalf("the error does not name the line: %v", err)
		}
	}
	if _, err := a.Verify(t.Context(), tokenN(1)); !errors.Is(err, verify.ErrRevokedToken) {
		t.Errorf("revoked beside a malformed line: %v", err)
	}
	if !accepts(a, tokenN(0)) {
		t.Error("bad content removed a token that it did not revoke")
	}
	if got := a.Status().Sources[0].Generation; got != generation+1 {
		t.Errorf("generation %d after one change, want %d", got, generation+1)
	}
}

func TestRetireEndsEveryOverlap(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	for n := 1; n < 3; n++ {
		replace(t, path, tokenN(n))
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Retire(); err != nil {
		t.Error(err)
	}
	for n := range 2 {
		if _, err := a.Verify(t.Context(), tokenN(n)); !errors.Is(err, verify.ErrExpiredToken) {
			t.Errorf("token %d after Retire: %v", n, err)
		}
	}
	if !accepts(a, tokenN(2)) {
		t.Error("the current token was retired")
	}
}

// TestP4_BadSourceChangesNothing gives a watching agent every kind of invalid content and
// a missing source. The agent keeps what it accepts, reports the error once, and
// recovers.
func TestP4_BadSourceChangesNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"empty":     func(t *testing.T, path string) { t.Helper(); replace(t, path, "") },
		"blank":     func(t *testing.T, path string) { t.Helper(); replace(t, path, " \r\n\n") },
		"short":     func(t *testing.T, path string) { t.Helper(); replace(t, path, tokenN(0)[:9]) },
		"comment":   func(t *testing.T, path string) { t.Helper(); replace(t, path, "# nothing yet\n") },
		"binary":    func(t *testing.T, path string) { t.Helper(); replace(t, path, tokenN(1)+"\x00\xff") },
		"two words": func(t *testing.T, path string) { t.Helper(); replace(t, path, tokenN(1)+" "+tokenN(2)) },
		"bad until": func(t *testing.T, path string) {
			t.Helper()
			replace(t, path, tokenN(1)+"\n"+tokenN(2)+" previous until=soon")
		},
		"huge":       func(t *testing.T, path string) { t.Helper(); replace(t, path, strings.Repeat(tokenN(1)+"\n", 1<<18)) },
		"no current": func(t *testing.T, path string) { t.Helper(); replace(t, path, tokenN(1)+" next") },
		"gone": func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"directory": func(t *testing.T, path string) {
			t.Helper()
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"dangling": func(t *testing.T, path string) {
			t.Helper()
			if err := errors.Join(os.Remove(path), os.Symlink("nowhere", path)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testlog.Log
			path := file(t, tokenN(0))
			a := start(t, agent.Config{TokenFile: path, Poll: 20 * time.Millisecond, Debounce: 5 * time.Millisecond, Overlap: -1, Logger: log.Logger()})
			spoil(t, path)
			source := func() agent.SourceStatus { return a.Status().Sources[0] }
			eventually(t, a, "the error shows", func() bool { return source().Error != "" })
			if !accepts(a, tokenN(0)) || accepts(a, tokenN(1)) || !a.Ready() {
				t.Error("bad content changed what is accepted")
			}
			if f := source().Error; !strings.Contains(f, path) {
				t.Errorf("the error does not name the file: %s", f)
			}
			// It is logged only once, although several polls read it.
			reads := source().LastReloadSuccess
			time.Sleep(100 * time.Millisecond)
			if n := strings.Count(log.String(), source().Error); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, log.String())
			}
			if got := source().LastReloadSuccess; !got.Equal(reads) {
				t.Error("a bad read counts as a success")
			}
			_ = os.Remove(path)
			replace(t, path, tokenN(3))
			eventually(t, a, "it recovers", func() bool { return accepts(a, tokenN(3)) && source().Error == "" })
			if accepts(a, tokenN(0)) {
				t.Error("without an overlap the old token is still accepted")
			}
			if strings.Contains(log.String(), canary[:8]) {
				t.Errorf("the log holds a token:\n%s", log.String())
			}
		})
	}
}

// TestP5_NoSourceNoAccess: without good content the agent accepts no token.
func TestP5_NoSourceNoAccess(t *testing.T) {
	t.Parallel()
	t.Run("start fails", func(t *testing.T) {
		t.Parallel()
		for name, text := range map[string]string{"empty": "", "short": "abc", "comment": "# x"} {
			if a, err := agent.Start(t.Context(), agent.Config{TokenFile: file(t, text)}); err == nil || a != nil {
				t.Errorf("%s: an agent, %v", name, err)
			}
		}
		if _, err := agent.Start(t.Context(), agent.Config{TokenFile: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("absent: %v", err)
		}
	})
	t.Run("wait for source", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "mount")
		a := start(t, agent.Config{TokenFile: dir, WaitForSource: true, Poll: 20 * time.Millisecond})
		for _, token := range []string{"", tokenN(0)} {
			if _, err := a.Verify(t.Context(), token); !errors.Is(err, verify.ErrUnavailable) {
				t.Errorf("before the source is loaded: %v", err)
			}
		}
		if a.Ready() || a.Status().Ready {
			t.Error("ready without content")
		}
		if err := a.Revoke(verify.Digest(tokenN(1))); err != nil {
			t.Error(err)
		}
		if _, err := a.Verify(t.Context(), tokenN(1)); !errors.Is(err, verify.ErrUnavailable) || a.Ready() {
			t.Errorf("after a revocation: %v, want unavailable", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := kubemount.Write(dir, map[string][]byte{"token": []byte(tokenN(0)), "token-next": []byte(tokenN(1))}, 0o400); err != nil {
			t.Fatal(err)
		}
		eventually(t, a, "it becomes ready", a.Ready)
		if !accepts(a, tokenN(0)) {
			t.Error("ready, but refuses the current token")
		}
		if _, err := a.Verify(t.Context(), tokenN(1)); !errors.Is(err, verify.ErrRevokedToken) {
			t.Errorf("the revocation from before was lost: %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		a := start(t, agent.Config{TokenFile: file(t, tokenN(0))})
		_ = a.Close()
		_ = a.Close()
		if _, err := a.Verify(t.Context(), tokenN(0)); !errors.Is(err, verify.ErrUnavailable) {
			t.Errorf("closed: %v", err)
		}
		if _, err := a.Reload(); !errors.Is(err, agent.ErrClosed) {
			t.Errorf("reload: %v", err)
		}
		_ = a.Retire() // ErrClosed
		_ = a.Revoke(verify.Digest("x"))
		if a.Ready() || accepts(a, tokenN(0)) {
			t.Error("ready or accepting after Close")
		}
		if _, err := a.Token(); !errors.Is(err, verify.ErrUnavailable) {
			t.Errorf("token: %v", err)
		}
	})
}

func TestTokenIsTheCurrentOne(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	replace(t, path, tokenN(1)+" next\n"+tokenN(2))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Token(); err != nil || got != tokenN(2) {
		t.Errorf("Token is not the current one: %v", err)
	}
}

func TestStartHonoursItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	a, err := agent.Start(ctx, agent.Config{TokenFile: file(t, tokenN(0)), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cancel()
	if !accepts(a, tokenN(0)) {
		t.Error("the end of the context of Start ended the agent")
	}
	if _, err := agent.Start(ctx, agent.Config{TokenFile: file(t, tokenN(0))}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with an ended context: %v", err)
	}
}

// TestP3_RestoredContentUnrevokesNothing: invalid content revoked a token. The earlier
// content, byte for byte, does not lift the revocation; only an unrevoked line does.
func TestP3_RestoredContentUnrevokesNothing(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, Poll: 20 * time.Millisecond, Debounce: 5 * time.Millisecond})
	replace(t, path, fmt.Sprintf("what\nrevoked %x\n", verify.Digest(tokenN(0))))
	eventually(t, a, "the revocation is in force", func() bool { return !accepts(a, tokenN(0)) })
	replace(t, path, tokenN(0))
	eventually(t, a, "the source is good again", func() bool { return a.Status().Sources[0].LastReloadGood })
	if got := class(a, tokenN(0)); got != "revoked" || len(a.Status().Sources[0].RevokedDeclared) != 1 {
		t.Errorf("%s, and reported as declared: %v", got, a.Status().Sources[0].RevokedDeclared)
	}
	replace(t, path, fmt.Sprintf("%s\nunrevoked %x\n", tokenN(0), verify.Digest(tokenN(0))))
	eventually(t, a, "the token is accepted again", func() bool { return accepts(a, tokenN(0)) })
}

// TestP5_NothingIsAcceptedAfterClose: a Reload that is in progress during Close publishes
// nothing.
func TestP5_NothingIsAcceptedAfterClose(t *testing.T) {
	t.Parallel()
	for range 20 {
		path := file(t, tokenN(0))
		a := start(t, agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour})
		replace(t, path, tokenN(1))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = a.Reload()
		}()
		runtime.Gosched()
		_ = a.Close()
		<-done
		if accepts(a, tokenN(1)) || accepts(a, tokenN(0)) {
			t.Fatal("accepted after Close")
		}
	}
}

// TestP2_FarTimesStayTimes declares deadlines in year 1 and year 9999. They must not
// become the zero Time, which means no deadline, and Status must be able to encode them.
func TestP2_FarTimesStayTimes(t *testing.T) {
	t.Parallel()
	ms, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": 1764000000000}).SignedString([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, ms+"\n"+tokenN(1)+" previous until=0001-01-01T00:00:00Z\n"+tokenN(2)+" previous until=9999-12-31T23:59:59-08:00")
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	if _, err := a.Verify(t.Context(), tokenN(1)); !errors.Is(err, verify.ErrExpiredToken) {
		t.Errorf("a deadline two thousand years ago: %v", err)
	}
	if !accepts(a, tokenN(2)) {
		t.Error("a deadline in eight thousand years has passed")
	}
	if _, err := json.Marshal(a.Status()); err != nil {
		t.Error(err)
	}
	scrape(t, a)
}

// TestP3_RevocationBesideAnUnreadableKey: token-revoked takes effect even if another file
// of the directory cannot be read.
func TestP3_RevocationBesideAnUnreadableKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(key, text string) {
		t.Helper()
		replace(t, filepath.Join(dir, key), text)
	}
	put("token", tokenN(0))
	put("token-next", tokenN(1))
	a := start(t, agent.Config{TokenFile: dir, Poll: 20 * time.Millisecond, Debounce: 5 * time.Millisecond})
	if err := errors.Join(os.Remove(filepath.Join(dir, "token")), os.Symlink("nowhere", filepath.Join(dir, "token"))); err != nil {
		t.Fatal(err)
	}
	put("token-revoked", fmt.Sprintf("%x", verify.Digest(tokenN(1))))
	eventually(t, a, "the revocation is in force", func() bool { return !accepts(a, tokenN(1)) })
	if s := a.Status().Sources[0]; !accepts(a, tokenN(0)) || !strings.Contains(s.Error, "leads nowhere") {
		t.Errorf("the unreadable file removed a token, or Status does not report it: %q", s.Error)
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	put("token", tokenN(2))
	eventually(t, a, "it recovers", func() bool { return accepts(a, tokenN(2)) && a.Status().Sources[0].Error == "" })
}

// TestGenerationCountsChangesAlone: retiring nothing and repeating a revocation are not
// changes.
func TestGenerationCountsChangesAlone(t *testing.T) {
	t.Parallel()
	a := start(t, agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true})
	if err := a.Retire(); err != nil {
		t.Error(err)
	}
	if err := a.Revoke(verify.Digest(tokenN(1))); err != nil {
		t.Error(err)
	}
	if err := a.Revoke(verify.Digest(tokenN(1))); err != nil {
		t.Error(err)
	}
	if got := a.Status().Sources[0].Generation; got != 2 {
		t.Errorf("generation %d, want 2", got)
	}
}

// TestP2_SlidingOverlap follows a rotation whose senders switch late. Status shows the
// window, which ends after the last use of the old token.
func TestP2_SlidingOverlap(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	synctest.Test(t, func(t *testing.T) {
		a := start(t, agent.Config{TokenFile: path, PollOnly: true, Overlap: 5 * time.Minute, MaxOverlap: 2 * time.Hour})
		replace(t, path, tokenN(1))
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		token := func() agent.TokenStatus { return a.Status().Sources[0].Tokens[1] }
		time.Sleep(time.Hour) // longer than the overlap: daprd was not restarted yet
		if !accepts(a, tokenN(0)) || !token().Waiting || !token().Deadline.Equal(token().Cap) {
			t.Fatalf("%+v", token())
		}
		if !accepts(a, tokenN(1)) || token().Waiting {
			t.Fatalf("after the first use of the new token: %+v", token())
		}
		time.Sleep(4 * time.Minute)
		used := time.Now()
		if !accepts(a, tokenN(0)) || !token().Deadline.Equal(used.Add(5*time.Minute)) {
			t.Fatalf("after a use of the old token: %+v", token())
		}
		time.Sleep(5*time.Minute - 1)
		if got := a.Status().Sources[0]; !got.PreviousLastUsed.Equal(used) || len(got.Tokens) != 2 {
			t.Fatalf("%+v", got)
		}
		time.Sleep(1)
		if accepts(a, tokenN(0)) {
			t.Error("accepted an overlap after its last use")
		}
	})
}
