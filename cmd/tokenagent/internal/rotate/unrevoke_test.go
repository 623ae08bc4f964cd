package rotate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
)

// What was revoked by mistake is revoked no more, also at agents that remember it;
// each step can be repeated, and revoked again.
func TestUnrevoke(t *testing.T) {
	for how, args := range map[string][]string{
		"digest":      {"--digest", id(two)},
		"fingerprint": {"--fingerprint", strings.ToUpper(fingerprint(two))},
		"from":        {"--from", tokenFile(t, two)},
	} {
		t.Run(how, func(t *testing.T) {
			forEachWay(t, func(t *testing.T, b bench) {
				lists := func(revoked, unrevoked []string) {
					t.Helper()
					c := b.content(t)
					if !slices.Equal(digests(c.Revoked), revoked) || !slices.Equal(digests(c.Unrevoked), unrevoked) {
						t.Errorf("revoked %v, unrevoked %v", digests(c.Revoked), digests(c.Unrevoked))
					}
				}
				b.do(t, "revoke", "--digest", id(two)).want(t, 0)
				b.do(t, "revoke", "--digest", id(three)).want(t, 0)
				b.do(t, "unrevoke", append(args, "--dry-run")...).want(t, 0, "dry run, nothing written: "+fingerprint(two)+" is no longer revoked")
				lists([]string{id(two), id(three)}, nil)
				b.do(t, "unrevoke", args...).want(t, 0, fingerprint(two)+" is no longer revoked; it is in no slot, so stage it", "  unrevoked  "+fingerprint(two))
				lists([]string{id(three)}, []string{id(two)})
				before := b.bytes(t)
				b.do(t, "unrevoke", args...).want(t, 0, "nothing changed: "+fingerprint(two)+" is already unrevoked")
				if b.bytes(t) != before {
					t.Error("the second time changes something")
				}
				b.do(t, "revoke", "--digest", id(two)).want(t, 0)
				lists([]string{id(three), id(two)}, nil)
				b.do(t, "unrevoke", args...).want(t, 0)
				lists([]string{id(three)}, []string{id(two)})
			})
		})
	}
}

// An agent may remember a revocation that a re-apply has deleted from the source.
func TestUnrevokeWhatTheSourceHasForgotten(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "unrevoke", "--fingerprint", fingerprint(one)).want(t, 1, "no revocation here has that fingerprint")
		b.do(t, "unrevoke", "--digest", id(one)).want(t, 0, fingerprint(one)+" is no longer revoked")
		if c := b.content(t); !slices.Equal(digests(c.Unrevoked), []string{id(one)}) {
			t.Errorf("unrevoked %v", digests(c.Unrevoked))
		}
	})
}

func TestUnrevokeReadsATokenFromStandardInput(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one+"\nrevoked "+id(two)+"\n")
	run(t, two+"\n", false, "unrevoke", string(file)).want(t, 0, fingerprint(two)+" is no longer revoked")
	if got, _ := os.ReadFile(string(file)); string(got) != one+"\nunrevoked "+id(two)+"\n" {
		t.Errorf("%q", got)
	}
	run(t, two+"\n", false, "unrevoke", "--from=-", string(file)).want(t, 0, "nothing changed")
	run(t, "", false, "unrevoke", string(file)).want(t, 1, "no current token")
	run(t, newSecret().text, false, "unrevoke").want(t, 2, "standard input is the Secret")
	run(t, "", false, "unrevoke", "--digest", id(one), "--fingerprint", fingerprint(one), string(file)).want(t, 2, "give only one of --slot")
	run(t, "", false, "unrevoke", "--digest", "xy", string(file)).want(t, 2, "--digest must be")
	run(t, "", false, "unrevoke", "--fingerprint", "xy", string(file)).want(t, 2, "--fingerprint must be 8 hex digits")
	run(t, "", false, "unrevoke", "--kid", "x", string(file)).want(t, 2, "go with verification keys")
}

// Ctrl-C ends a step that waits for standard input, and one that waits for agents.
func TestInterruptEndsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, one+"\n"+two+" next\n")
	for _, args := range [][]string{{"stage"}, {"status"}, {"unrevoke", file}, {"stage", "--from=-", file}, {"promote", "--agent=http://127.0.0.1:1", "--wait=1h", file}} {
		in, feed := io.Pipe()
		ctx, interrupt := context.WithCancel(t.Context())
		cmd := rotate.Command()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		cmd.SetIn(in)
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		done := make(chan error)
		go func() { done <- cmd.ExecuteContext(ctx) }()
		interrupt()
		if err := <-done; !errors.Is(err, exitcode.Interrupted) || exitcode.Of(err) != 130 || out.Len() > 0 {
			t.Errorf("%v: %v, and %d bytes", args, err, out.Len())
		}
		_ = feed.Close()
	}
}

// Keys have the same lists; a retired or unrevoked key is written by its thumbprint.
func TestRetiredAndUnrevokedKeys(t *testing.T) {
	one, two := newSigner(t, "ES256"), newSigner(t, "ES256")
	for name, b := range keyBenches(t, "key", one.public) {
		t.Run(name, func(t *testing.T) {
			b.do(t, "now", "--from", from(t, two.public), "--overlap=1h").want(t, 0)
			b.do(t, "retire").want(t, 0)
			k := keys(t, b)
			if got, want := k["retired"], hexOf(one.key.ID()); strings.TrimSpace(got) != want {
				t.Errorf("retired is %q, want %s", got, want)
			}
			b.do(t, "revoke", "--kid", "a b").want(t, 0)
			b.do(t, "unrevoke", "--kid", "a b").want(t, 0)
			if k = keys(t, b); k["unrevoked"] != "kid a b\n" || k["revoked"] != "" {
				t.Errorf("unrevoked is %q, revoked %q", k["unrevoked"], k["revoked"])
			}
			b.do(t, "unrevoke", "--kid", "a b").want(t, 0, "nothing changed")
			b.do(t, "revoke", "--from", from(t, one.public)).want(t, 0)
			b.do(t, "unrevoke", "--from", from(t, one.public)).want(t, 0)
			if k = keys(t, b); k["unrevoked"] != fmt.Sprintf("kid a b\n%s\n", hexOf(one.key.ID())) {
				t.Errorf("unrevoked is %q", k["unrevoked"])
			}
			b.do(t, "stage", "--from", from(t, one.public)).want(t, 0)
			if k = keys(t, b); k["retired"] != "" {
				t.Errorf("what is staged is not retired: %q", k["retired"])
			}
		})
	}
}

// A revocation that is forgotten leaves no line behind that lifts it at agents
// which remember it.
func TestForgetTakesOutWhatLiftsTheRevocation(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "revoke", "--digest", id(two)).want(t, 0)
		b.do(t, "unrevoke", "--digest", id(two)).want(t, 0)
		switch s := target(b).(type) {
		case *secret:
			s.text = strings.Replace(s.text, `"token-unrevoked"`, `"token-revoked": "`+b64(id(two))+`", "token-unrevoked"`, 1)
		case path:
			data := filepath.Join(string(s), "..data")
			if _, err := os.Stat(data); err != nil {
				data = string(s)
			}
			if info, _ := os.Stat(string(s)); info.IsDir() {
				put(t, filepath.Join(data, "token-revoked"), id(two))
			} else {
				text, _ := os.ReadFile(string(s))
				put(t, string(s), string(text)+"revoked "+id(two)+"\n")
			}
		}
		b.do(t, "revoke", "--forget", id(two)).want(t, 0, "forgot that "+fingerprint(two)+" was revoked")
		if c := b.content(t); len(c.Revoked)+len(c.Unrevoked) > 0 {
			t.Errorf("revoked %v, unrevoked %v", digests(c.Revoked), digests(c.Unrevoked))
		}
	})
}
