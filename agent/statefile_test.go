package agent_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/agent/internal/statefile"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP4_StateFileNeverReplacesASource: whatever StateFile names, the Agent overwrites
// neither a source nor another private file.
func TestP4_StateFileNeverReplacesASource(t *testing.T) {
	t.Parallel()
	source := file(t, tokenN(0))
	dir := filepath.Dir(source)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	replace(t, filepath.Join(secrets, "token"), tokenN(0))
	env := file(t, "APP_API_TOKEN="+tokenN(0)+"\n")
	key := newIssuer(t)
	keys := signedBy(file(t, key.public))
	for name, c := range map[string]struct {
		cfg  agent.Config
		want string
	}{
		"the token file":        {agent.Config{TokenFile: source, StateFile: source}, "is the source"},
		"the token file, other": {agent.Config{TokenFile: source, StateFile: filepath.Join(dir, "x", "..", "token")}, "is the source"},
		"the token file, link":  {agent.Config{TokenFile: source, StateFile: filepath.Join(link, "token")}, "is the source"},
		"a file to come":        {agent.Config{TokenFile: source + "2", StateFile: source + "2", WaitForSource: true}, "is the source"},
		"a key of a directory":  {agent.Config{TokenFile: secrets, StateFile: filepath.Join(secrets, "token-next")}, "lies in the source directory"},
		"below a directory":     {agent.Config{TokenFile: secrets, StateFile: filepath.Join(secrets, "a", "b")}, "lies in the source directory"},
		"the env file":          {agent.Config{EnvFile: env, StateFile: env}, "is the source"},
		"the key file":          {agent.Config{Issuers: keys.Issuers, StateFile: keys.Issuers[0].KeyFile}, "is the source"},
		"a directory":           {agent.Config{TokenFile: source, StateFile: t.TempDir() + "/"}, "is a directory"},
	} {
		_, err := agent.Start(t.Context(), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	other := filepath.Join(t.TempDir(), "private", "id_ed25519")
	if err := os.Mkdir(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"-----BEGIN OPENSSH PRIVATE KEY-----\n", tokenN(5), "{}", strings.Repeat("x", 9<<20)} {
		replace(t, other, content)
		a := start(t, agent.Config{TokenFile: source, StateFile: other, PollOnly: true})
		_ = a.Revoke(verify.Digest(tokenN(3)))
		_ = a.Close()
		if after, _ := os.ReadFile(other); string(after) != content {
			t.Errorf("a file of %d bytes was written over", len(content))
		}
		if got := a.Status().Sources[0].StateError; !strings.Contains(got, "not written by tokenagent") {
			t.Errorf("error %q", got)
		}
	}
}

// TestP3_FixedStateFileIsAdopted: if a state file was unusable at the start and is fixed
// later, the Agent adopts its revocations before it writes the file.
func TestP3_FixedStateFileIsAdopted(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(0)+"\n"+tokenN(1)+" previous"), stateFile(t)
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: state, Poll: 20 * time.Millisecond}
	a := start(t, cfg)
	for _, err := range []error{a.Revoke(verify.Digest(tokenN(0))), a.Revoke(verify.Digest(tokenN(7))), a.Retire(), a.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(mode os.FileMode) {
		if err := os.Chmod(state, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(0o640)
	a = start(t, cfg)
	if a.Status().Sources[0].StateError == "" {
		t.Fatal("Status shows no error")
	}
	chmod(0o600)
	eventually(t, a, "the state file is used", func() bool { return a.Status().Sources[0].StateError == "" })
	for range 2 {
		for n, want := range map[int]string{0: "revoked", 1: "expired", 7: "revoked"} {
			if got := class(a, tokenN(n)); got != want {
				t.Errorf("token %d: %s, want %s", n, got, want)
			}
		}
		_ = a.Close()
		a = start(t, cfg)
	}
}

// TestP3_TwoProcessesShareAStateFile: two processes keep each other's revocations if the
// next one starts before the last one ends.
func TestP3_TwoProcessesShareAStateFile(t *testing.T) {
	t.Parallel()
	for _, existed := range []bool{false, true} {
		t.Run(fmt.Sprint("existed ", existed), func(t *testing.T) {
			t.Parallel()
			cfg := agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
			if existed {
				_ = start(t, cfg).Close()
			}
			a, b := start(t, cfg), start(t, cfg)
			for _, err := range []error{a.Revoke(verify.Digest(tokenN(0))), a.Close(), b.Revoke(verify.Digest(tokenN(7)))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := class(b, tokenN(0)); got != "revoked" {
				t.Errorf("the other process, after it has written: %s, want revoked", got)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			c := start(t, cfg)
			for _, n := range []int{0, 7} {
				if got := class(c, tokenN(n)); got != "revoked" {
					t.Errorf("token %d: %s", n, got)
				}
			}
		})
	}
}

// TestP4_PartialContentKeepsRememberedTokens: an unreadable file in the source directory,
// with a revocation beside it, does not affect a remembered token.
func TestP4_PartialContentKeepsRememberedTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(key, text string) { replace(t, filepath.Join(dir, key), text) }
	put("token", tokenN(0))
	cfg := agent.Config{TokenFile: dir, PollOnly: true, StateFile: stateFile(t)}
	a := start(t, cfg)
	put("token", tokenN(1))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	a = start(t, cfg)
	put("token-previous", tokenN(0))
	digest := verify.Digest(tokenN(9))
	put("token-revoked", hex.EncodeToString(digest[:]))
	if err := os.Mkdir(filepath.Join(dir, "token-next"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Reload(); err == nil {
		t.Fatal("no error, although token-next is a directory")
	}
	for n, want := range map[int]string{0: "ok", 1: "ok", 9: "revoked"} {
		if got := class(a, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
}

// TestP3_RemovedStateFileIsWrittenAgain: Revoke writes the state file again if somebody
// has removed it.
func TestP3_RemovedStateFileIsWrittenAgain(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a := start(t, cfg)
	for range 2 {
		if err := a.Revoke(verify.Digest(tokenN(3))); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(cfg.StateFile); err != nil {
			t.Fatalf("Revoke returned without writing the file: %v", err)
		}
	}
}

func TestRelativeStateFileStaysWhereItIs(t *testing.T) {
	path := file(t, tokenN(0))
	home := t.TempDir()
	t.Chdir(home)
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, StateFile: "own/tokens.state", Poll: time.Hour})
	t.Chdir(t.TempDir())
	if err := a.Revoke(rotation.ID{1}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(home, "own", "tokens.state"))
	if err != nil || !strings.Contains(string(text), `"revoked"`) {
		t.Errorf("written elsewhere: %v", err)
	}
}

// TestStateFileKeepsUsesOfDeclaredTokens: a restart keeps the last use of a declared
// previous token. Operators retire the token when it is no longer used.
func TestStateFileKeepsUsesOfDeclaredTokens(t *testing.T) {
	t.Parallel()
	path, state := file(t, tokenN(1)+"\n"+tokenN(0)+" previous until=2999-01-01T00:00:00Z"), stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: state}
		a := start(t, cfg)
		if !accepts(a, tokenN(0)) {
			t.Fatal("refused")
		}
		used := a.Status().Sources[0].PreviousLastUsed
		for range 2 {
			time.Sleep(time.Minute)
			_ = a.Close()
			a = start(t, cfg)
			if got := a.Status().Sources[0].PreviousLastUsed; !got.Equal(used) || used.IsZero() {
				t.Errorf("last used %s, want %s", got, used)
			}
		}
		replace(t, path, tokenN(1)) // retired; the last use stays
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		a = start(t, cfg)
		if got := a.Status().Sources[0].PreviousLastUsed; !got.Equal(used) {
			t.Errorf("after the retirement: last used %s, want %s", got, used)
		}
	})
}

// TestStateFileOfAnotherVersion: such a file is never replaced, even if this version cannot
// read all of it. The error is logged once.
func TestStateFileOfAnotherVersion(t *testing.T) {
	t.Parallel()
	var log testlog.Log
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true, StateFile: stateFile(t), Logger: log.Logger()}
	other := fmt.Sprintf(`{"schema":3,"sources":[{"name":"token","kind":"file","location":%q,"entries":[{"sha256":"short","slot":"standby"}]}]}`, cfg.TokenFile)
	if err := statefile.Update(cfg.StateFile, func([]byte, error) ([]byte, error) { return []byte(other), nil }); err != nil {
		t.Fatal(err)
	}
	a := start(t, cfg)
	if n := strings.Count(log.String(), "another version of tokenagent (schema 3)"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
	if err := a.Revoke(verify.Digest(tokenN(3))); err == nil {
		t.Error("Revoke reports that it wrote the file")
	}
	if text, err := statefile.Load(cfg.StateFile); err != nil || string(text) != other {
		t.Errorf("the file was replaced: %v", err)
	}
}

// TestP3_RevokeRemovedToken: a token that is revoked after it has left the source stays
// refused when it returns.
func TestP3_RevokeRemovedToken(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	cfg := agent.Config{TokenFile: path, PollOnly: true, StateFile: stateFile(t)}
	a := start(t, cfg)
	rotated(t, a, path, 1)
	_ = a.Close()
	a = start(t, cfg)
	p, err := a.Verify(t.Context(), tokenN(0))
	if err != nil {
		t.Fatal(err)
	}
	read := func(text string) {
		replace(t, path, text)
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	read(tokenN(1) + "\n" + tokenN(0)) // listed
	read(tokenN(1))                    // removed
	if err := a.Revoke(p.Credential()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		read(tokenN(0))
		if got := class(a, tokenN(0)); got != "revoked" {
			t.Errorf("declared again: %s, want revoked", got)
		}
		_ = a.Close()
		a = start(t, cfg)
		read(tokenN(1))
	}
}
