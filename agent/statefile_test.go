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

// TestP4_StateFileNeverReplacesASource: whatever path is given for it, no source,
// and no other private file, is written over.
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
		"the key file":          {agent.Config{KeyFile: keys.KeyFile, JWT: keys.JWT, StateFile: keys.KeyFile}, "is the source"},
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
		if fault := a.Status().Sources[0].StateError; !strings.Contains(fault, "not written by tokenagent") {
			t.Errorf("fault %q", fault)
		}
	}
}

// TestP3_MendedStateFileIsTakenOver: a file that could not be used at the start,
// and is put right as its fault says, is not thrown away with what it revokes.
func TestP3_MendedStateFileIsTakenOver(t *testing.T) {
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
		t.Fatal("no fault")
	}
	chmod(0o600)
	eventually(t, a, "it is healed", func() bool { return a.Status().Sources[0].StateError == "" })
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

// TestP3_TwoProcessesShareAStateFile: where the next process starts before the
// last has ended, neither writes over what the other revoked.
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
				t.Errorf("the other process, once it has written: %s", got)
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

// TestP4_PartialContentForgetsNobody: a key that cannot be read, and a revocation
// beside it, change nothing about a token that is remembered by digest.
func TestP4_PartialContentForgetsNobody(t *testing.T) {
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
		t.Fatal("a key that is a directory is no error")
	}
	for n, want := range map[int]string{0: "ok", 1: "ok", 9: "revoked"} {
		if got := class(a, tokenN(n)); got != want {
			t.Errorf("token %d: %s, want %s", n, got, want)
		}
	}
}

// TestP3_RemovedStateFileIsWrittenAgain: a cleaner of temporary files must not
// undo what Revoke said was written.
func TestP3_RemovedStateFileIsWrittenAgain(t *testing.T) {
	t.Parallel()
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true, StateFile: stateFile(t), Poll: time.Hour}
	a := start(t, cfg)
	for range 2 {
		if err := a.Revoke(verify.Digest(tokenN(3))); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(cfg.StateFile); err != nil {
			t.Fatalf("Revoke returned, and nothing is written: %v", err)
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

// TestStateFileKeepsUsesOfDeclaredTokens: what a retirement waits for.
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
		replace(t, path, tokenN(1)) // retired: the last use is still told
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

// TestP3_RevokeWhatIsGone: a token that has left, and that its last use named, stays
// refused when it comes back.
func TestP3_RevokeWhatIsGone(t *testing.T) {
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
	read(tokenN(1))                    // and gone
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
