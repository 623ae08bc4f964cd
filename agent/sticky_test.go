package agent_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// declaredMetric returns an error unless a's revoked_token_declared has the given value.
func declaredMetric(a *agent.Agent, source string, value int) error {
	return testutil.CollectAndCompare(a, strings.NewReader(fmt.Sprintf(`
# HELP tokenagent_revoked_token_declared Whether the source declares a token that is revoked, without the revocation (1), or not (0). The token stays refused.
# TYPE tokenagent_revoked_token_declared gauge
tokenagent_revoked_token_declared{source=%q} %d
`, source, value)), "tokenagent_revoked_token_declared")
}

// TestP3_ReapplyUnrevokesNothing: an old manifest declares the leaked token again without
// its revocation. The token stays refused, also after restarts with a state file, until
// the revocation is lifted. Log, metric and status show it.
func TestP3_ReapplyUnrevokesNothing(t *testing.T) {
	t.Parallel()
	leaked, fresh := tokenN(0), tokenN(1)
	for name, lift := range map[string]func(t *testing.T, a *agent.Agent, put func(map[string]string)) *agent.Agent{
		"Unrevoke": func(t *testing.T, a *agent.Agent, _ func(map[string]string)) *agent.Agent {
			t.Helper()
			if err := a.Unrevoke(verify.Digest(leaked)); err != nil {
				t.Error(err)
			}
			return a
		},
		"the source": func(_ *testing.T, a *agent.Agent, put func(map[string]string)) *agent.Agent {
			put(map[string]string{"token": leaked, "token-unrevoked": fmt.Sprintf("%x\n", verify.Digest(leaked))})
			return a
		},
		"a restart without a state file": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var log testlog.Log
			cfg := agent.Config{TokenFile: dir, PollOnly: true, Poll: time.Hour, Logger: log.Logger(), StateFile: stateFile(t)}
			var a *agent.Agent
			put := func(keys map[string]string) {
				t.Helper()
				payload := map[string][]byte{}
				for k, v := range keys {
					payload[k] = []byte(v)
				}
				if err := kubemount.Write(dir, payload, 0o400); err != nil {
					t.Fatal(err)
				}
				if a == nil {
					a = start(t, cfg)
				} else if _, err := a.Reload(); err != nil {
					t.Fatal(err)
				}
			}
			put(map[string]string{"token": leaked})
			put(map[string]string{"token": fresh, "token-revoked": fmt.Sprintf("%x\n", verify.Digest(leaked))})
			if err := declaredMetric(a, "token", 0); err != nil {
				t.Error(err)
			}
			for _, keys := range []map[string]string{
				{"token": leaked},
				{"token": fresh, "token-next": leaked},
				{"token": fresh, "token-previous": leaked},
				{"token": fresh, "token-previous": leaked, "token-previous-until": "2999-01-01T00:00:00Z"},
				{"token": leaked},
			} {
				put(keys)
				for range 2 {
					if got := class(a, leaked); got != "revoked" {
						t.Errorf("declared %v: %s", keys, got)
					}
					if err := declaredMetric(a, "token", 1); err != nil {
						t.Error(err)
					}
					src := a.Status().Sources[0]
					if len(src.RevokedDeclared) != 1 || src.RevokedDeclared[0] != verify.Fingerprint(verify.Digest(leaked)) {
						t.Errorf("Status has %v", src.RevokedDeclared)
					}
					_ = a.Close()
					a = start(t, cfg)
				}
			}
			eventually(t, a, "the warning is logged", func() bool { return strings.Contains(log.String(), "revoked, and declared without the revocation") })
			if lift == nil {
				_ = a.Close()
				cfg.StateFile = ""
				a = start(t, cfg)
			} else {
				a = lift(t, a, put)
			}
			for range 2 {
				if got := class(a, leaked); got != "ok" {
					t.Errorf("after the revocation was lifted: %s", got)
				}
				if err := declaredMetric(a, "token", 0); err != nil {
					t.Error(err)
				}
				if len(a.Status().Sources[0].RevokedDeclared) > 0 {
					t.Error("Status still reports it")
				}
				_ = a.Close()
				a = start(t, cfg)
			}
		})
	}
}

// TestP3_SignedRevocationsAreSticky revokes a key by its thumbprint and by its kid, and a
// token by its jti and by its digest.
func TestP3_SignedRevocationsAreSticky(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	token := i.sign(t, "the-jti", time.Hour)
	key, err := jwt.NewKey(jwt.KeyConfig{KeyID: "main", Material: i.private.Public()})
	if err != nil {
		t.Fatal(err)
	}
	input, id := verify.SigningInputDigest(token), key.ID()
	for line, id := range map[string]rotation.ID{
		hex.EncodeToString(id[:]): id, "kid main": verify.RevokedKeyID("main"),
		"jti the-jti": verify.RevokedTokenID("the-jti"), fmt.Sprintf("%x", input): input,
	} {
		dir := t.TempDir()
		cfg := signedBy(dir)
		cfg.StateFile = stateFile(t)
		put := func(key, text string) { replace(t, filepath.Join(dir, key), text) }
		put("key", i.jwk("main"))
		put("revoked", line)
		a := start(t, cfg)
		for range 2 {
			put("revoked", "# none")
			if _, err := a.Reload(); err != nil {
				t.Fatal(err)
			}
			if err := verdict(a, token); !errors.Is(err, verify.ErrRevokedToken) {
				t.Errorf("%s: %v", line, err)
			}
			_ = a.Close()
			a = start(t, cfg)
		}
		isKey := !strings.HasPrefix(line, "jti") && id != input // a source declares keys, but no signed tokens
		if got := len(a.Status().Sources[0].RevokedDeclared) > 0; got != isKey {
			t.Errorf("%s: reported as declared: %t, want %t", line, got, isKey)
		}
		if err := a.Unrevoke(id); err != nil {
			t.Error(err)
		}
		if err := verdict(a, token); err != nil {
			t.Errorf("%s, after the revocation was lifted: %v", line, err)
		}
	}
}

// TestUnrevokeFailsWhileTheSourceRevokes: such an Unrevoke changes nothing.
func TestUnrevokeFailsWhileTheSourceRevokes(t *testing.T) {
	t.Parallel()
	a := start(t, agent.Config{TokenFile: file(t, fmt.Sprintf("%s\nrevoked %x\n", tokenN(0), verify.Digest(tokenN(1)))), PollOnly: true})
	before := a.Status().Sources[0].Generation
	if err := a.Unrevoke(verify.Digest(tokenN(1))); err == nil || !strings.Contains(err.Error(), "remove that revocation first") {
		t.Errorf("%v, want that the source revokes it", err)
	}
	if err := a.Unrevoke(verify.Digest(tokenN(2))); err != nil { // it is not revoked
		t.Error(err)
	}
	if got := class(a, tokenN(1)); got != "revoked" || a.Status().Sources[0].Generation != before {
		t.Errorf("%s, or the generation changed", got)
	}
	_ = a.Close()
	if err := a.Unrevoke(verify.Digest(tokenN(2))); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestUnrevokeFailsWhileBadContentRevokes: Unrevoke fails as long as the source revokes
// the token, even if the token was revoked by hand as well.
func TestUnrevokeFailsWhileBadContentRevokes(t *testing.T) {
	t.Parallel()
	for _, byHandToo := range []bool{false, true} {
		path := file(t, tokenN(0)+"\n"+tokenN(1))
		a := start(t, agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour})
		id := verify.Digest(tokenN(1))
		if byHandToo {
			if err := a.Revoke(id); err != nil {
				t.Fatal(err)
			}
		}
		replace(t, path, fmt.Sprintf("bad\nrevoked %x\n", id))
		for range 2 {
			if _, err := a.Reload(); err == nil {
				t.Fatal("bad content is accepted")
			}
			if err := a.Unrevoke(id); err == nil || class(a, tokenN(1)) != "revoked" {
				t.Errorf("by hand too %t: %v, and then %s", byHandToo, err, class(a, tokenN(1)))
			}
		}
		for _, text := range []string{tokenN(0) + "\n" + tokenN(1), "bad\n"} {
			replace(t, path, text)
			_, _ = a.Reload()
			if err := errors.Join(a.Revoke(id), a.Unrevoke(id)); err != nil || class(a, tokenN(1)) != "ok" {
				t.Errorf("the source says %q: %v, and then %s", text, err, class(a, tokenN(1)))
			}
		}
	}
}

// TestP3_LiftOutlivesABadStateFile: while the state file cannot be written, the source
// lifts a revocation and declares a retired token again. When the file is usable again,
// its old content undoes neither.
func TestP3_LiftOutlivesABadStateFile(t *testing.T) {
	t.Parallel()
	lifted, retired := tokenN(1), tokenN(2)
	path := file(t, tokenN(0)+"\n"+lifted+"\n"+retired+" previous")
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a := start(t, cfg)
	if err := errors.Join(a.Revoke(verify.Digest(lifted)), a.Retire()); err != nil {
		t.Fatal(err)
	}
	chmod := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Dir(cfg.StateFile), mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(0o770)
	for _, text := range []string{
		tokenN(0) + "\n" + lifted + "\n" + retired + fmt.Sprintf("\nunrevoked %x", verify.Digest(lifted)),
		tokenN(0) + "\n" + lifted + "\n" + retired + " previous",
	} {
		replace(t, path, text)
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Revoke(verify.Digest(tokenN(8))); err == nil {
		t.Fatal("Revoke reports that it wrote the file")
	}
	chmod(0o700)
	if err := a.Revoke(verify.Digest(tokenN(9))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if class(a, lifted) != "ok" || class(a, retired) != "ok" || class(a, tokenN(0)) != "ok" {
			t.Errorf("lifted %s, declared again %s", class(a, lifted), class(a, retired))
		}
		_ = a.Close()
		a = start(t, cfg)
	}
}

// TestP3_LiftByHandEndsAtTheNextRevocation: after Unrevoke and another Revoke of a token,
// the agent again obeys what another process with the same state file revokes.
func TestP3_LiftByHandEndsAtTheNextRevocation(t *testing.T) {
	t.Parallel()
	path, id := file(t, tokenN(0)+"\n"+tokenN(1)), verify.Digest(tokenN(1))
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a, other := start(t, cfg), start(t, cfg)
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	must(a.Revoke(id), a.Unrevoke(id), a.Revoke(id))
	replace(t, path, tokenN(0)+"\n"+tokenN(1)+fmt.Sprintf("\nunrevoked %x", id))
	for n, who := range []*agent.Agent{a, other} {
		_, err := who.Reload()
		must(err, who.Revoke(verify.Digest(tokenN(100+n)))) // which writes the state file
	}
	if class(a, tokenN(1)) != "ok" || class(other, tokenN(1)) != "ok" {
		t.Fatalf("%s and %s, though the source lifts the revocation", class(a, tokenN(1)), class(other, tokenN(1)))
	}
	must(other.Revoke(id), a.Revoke(verify.Digest(tokenN(102))))
	if got := class(a, tokenN(1)); got != "revoked" {
		t.Errorf("%s, want revoked", got)
	}
}

// TestP3_LiftOutlivesASlowerProcess: one process has read that the source lifts a
// revocation, and another has not yet. Their shared state file does not bring the
// revocation back. A later revocation holds in both.
func TestP3_LiftOutlivesASlowerProcess(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1))
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a, slow := start(t, cfg), start(t, cfg)
	id := verify.Digest(tokenN(1))
	writes := func(who *agent.Agent, n int) {
		t.Helper()
		if err := who.Revoke(verify.Digest(tokenN(100 + n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Revoke(id); err != nil {
		t.Fatal(err)
	}
	writes(slow, 1) // and adopts it
	replace(t, path, tokenN(0)+"\n"+tokenN(1)+fmt.Sprintf("\nunrevoked %x", id))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	writes(a, 2)
	writes(slow, 3)
	writes(a, 4)
	if class(a, tokenN(1)) != "ok" || class(slow, tokenN(1)) != "revoked" {
		t.Errorf("%s, and in the slow process %s", class(a, tokenN(1)), class(slow, tokenN(1)))
	}
	if _, err := slow.Reload(); err != nil {
		t.Fatal(err)
	}
	writes(slow, 5)
	writes(a, 6)
	if class(a, tokenN(1)) != "ok" || class(slow, tokenN(1)) != "ok" {
		t.Errorf("after both have read it: %s and %s", class(a, tokenN(1)), class(slow, tokenN(1)))
	}
	if err := slow.Revoke(id); err != nil {
		t.Fatal(err)
	}
	writes(a, 7)
	if class(a, tokenN(1)) != "revoked" {
		t.Error("accepted after another revocation")
	}
}

// TestP3_UnrevokedIsNotRevokedByAnOlderStateFile: after Unrevoke, the state of another
// process does not revoke the token again.
func TestP3_UnrevokedIsNotRevokedByAnOlderStateFile(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a, b := start(t, cfg), start(t, cfg)
	id := verify.Digest(tokenN(0))
	if err := errors.Join(a.Revoke(id), b.Revoke(id), a.Unrevoke(id)); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(verify.Digest(tokenN(5))); err != nil { // reads what b wrote
		t.Fatal(err)
	}
	if got := class(a, tokenN(0)); got != "ok" {
		t.Errorf("%s, want it accepted", got)
	}
	if err := a.Revoke(id); err != nil || class(a, tokenN(0)) != "revoked" {
		t.Errorf("after another revocation: %v", err)
	}
}

// TestRetiredInTheSource: if the source retires the current token, the Agent does not
// remember it as previous, and refuses it as expired.
func TestRetiredInTheSource(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour}
		a := start(t, cfg)
		read := func(text string) {
			t.Helper()
			replace(t, path, text)
			if _, err := a.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		retired := fmt.Sprintf("%s\nretired %x\n", tokenN(1), verify.Digest(tokenN(0)))
		read(retired)
		if got := class(a, tokenN(0)); got != "expired" || len(a.Status().Sources[0].Tokens) != 1 {
			t.Errorf("%s, want expired, and only one token", got)
		}
		read(tokenN(1) + "\n" + tokenN(0) + " previous") // not sticky
		if got := class(a, tokenN(0)); got != "ok" {
			t.Errorf("declared again: %s", got)
		}
		_ = a.Close()
		a = start(t, cfg)
		read(retired)
		if got := class(a, tokenN(0)); got != "expired" {
			t.Errorf("after a restart: %s", got)
		}
	})
}
