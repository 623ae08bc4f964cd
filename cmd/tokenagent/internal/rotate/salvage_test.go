package rotate_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// broken makes one target of each kind that declares the token one and does not
// parse. read returns what is there of the revocations, and what of all else.
func broken(t *testing.T) map[string]struct {
	b    bench
	read func(t *testing.T) (revoked, rest string)
} {
	t.Helper()
	file, dir := path(filepath.Join(t.TempDir(), "token")), path(t.TempDir())
	put(t, string(file), "# ours\r\n"+one+"\r\nCANARY-1c3a\r\n"+three+" next")
	put(t, filepath.Join(string(dir), "token"), one)
	put(t, filepath.Join(string(dir), "token-next"), "CANARY-1c3a")
	put(t, filepath.Join(string(dir), "token-revoked"), "# none\nnonsense")
	s := &secret{strings.Replace(newSecret().text, `"foreign"`, `"token-next": "eA==", "foreign"`, 1)}
	text := func(t *testing.T, name string) string {
		t.Helper()
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	return map[string]struct {
		b    bench
		read func(t *testing.T) (revoked, rest string)
	}{
		"file": {file, func(t *testing.T) (string, string) {
			t.Helper()
			was := "# ours\r\n" + one + "\r\nCANARY-1c3a\r\n" + three + " next"
			rest, ok := strings.CutPrefix(text(t, string(file)), was)
			if !ok {
				return "", text(t, string(file))
			}
			return rest, was
		}},
		"directory": {dir, func(t *testing.T) (string, string) {
			t.Helper()
			return text(t, filepath.Join(string(dir), "token-revoked")), text(t, filepath.Join(string(dir), "token")) + " " + text(t, filepath.Join(string(dir), "token-next"))
		}},
		"secret": {s, func(t *testing.T) (string, string) {
			t.Helper()
			var v struct {
				Data map[string][]byte `json:"data"`
				Rest map[string]any    `json:"-"`
			}
			if err := errors.Join(json.Unmarshal([]byte(s.text), &v), json.Unmarshal([]byte(s.text), &v.Rest)); err != nil {
				t.Fatal(err)
			}
			digests := string(v.Data["token-revoked"])
			delete(v.Data, "token-revoked")
			v.Rest["data"] = v.Data
			rest, _ := json.Marshal(v.Rest)
			return digests, string(rest)
		}},
	}
}

// A broken line elsewhere does not hold a revocation up: it is put in, and
// nothing else changes a byte.
func TestRevokeInABrokenSource(t *testing.T) {
	for name := range broken(t) {
		t.Run(name, func(t *testing.T) {
			for how, args := range map[string][]string{
				"digest":  {"--digest", id(two)},
				"from":    {"--from", tokenFile(t, two)},
				"current": {"--slot", "current", "--force"},
				"named":   {"--slot", "current", "--force", "--expect", print8(one)},
				"forced":  {"--digest", id(one), "--force"},
			} {
				t.Run(how, func(t *testing.T) {
					c := broken(t)[name]
					was, rest := c.read(t)
					want := id(two)
					if how != "digest" && how != "from" {
						want = id(one)
					}
					c.b.do(t, "revoke", append(args, "--dry-run")...).want(t, 0, "dry run, nothing written: revoked "+want[:8])
					if now, _ := c.read(t); now != was {
						t.Fatalf("a dry run writes %q", now)
					}
					c.b.do(t, "revoke", args...).want(t, 0, "revoked "+want[:8], "warning: ", "THE SOURCE IS BROKEN, and stays so: ", "token", "is ")
					revoked, same := c.read(t)
					if same != rest || !strings.HasPrefix(revoked, was) || strings.Count(revoked, want) != 1 {
						t.Errorf("revoked: %q; the rest was %q and is %q", revoked, rest, same)
					}
					if name == "file" && revoked != "\r\nrevoked "+want+"\r\n" {
						t.Errorf("the line is %q", revoked)
					}
					o := c.b.do(t, "revoke", append(args, "--output=json")...).want(t, 0, `"changed": false`, "is revoked already", `"fault": `)
					if again, same := c.read(t); again != revoked || same != rest {
						t.Errorf("the second time changes it again: %s", o.out)
					}
				})
			}
		})
	}
}

// What is not certain is not revoked, and the error says how it can be.
func TestRevokeInABrokenSourceRefuses(t *testing.T) {
	for name, c := range broken(t) {
		t.Run(name, func(t *testing.T) {
			before := c.b.bytes(t)
			for _, args := range [][]string{{}, {"--slot", "next"}, {"--slot", "current"}, {"--slot", "current", "--force", "--expect", "00000000"}} {
				c.b.do(t, "revoke", args...).want(t, 1, "to revoke before that is mended, say what with --digest or --from")
			}
			c.b.do(t, "revoke", "--digest", id(one)).want(t, 1, print8(one)+" is the current token, and none can take its place before that is mended", "with --force")
			c.b.do(t, "revoke", "--forget", id(one)).want(t, 1)
			c.b.do(t, "revoke", "--kid", "k").want(t, 2, "--kid and --jti go with verification keys")
			for _, step := range []string{"stage", "promote", "retire", "now", "status"} {
				c.b.do(t, step).want(t, 1)
			}
			if c.b.bytes(t) != before {
				t.Error("refused, and changed all the same")
			}
		})
	}
	// Which one was meant to be the current token, if its line is the broken one?
	file := path(filepath.Join(t.TempDir(), "token"))
	for _, text := range []string{"CANARY-1c3a\n" + two, one + " nxt\n" + two, "# none", two + " next"} {
		put(t, string(file), text)
		file.do(t, "revoke", "--slot", "current", "--force").want(t, 1, "say what with --digest or --from")
		file.do(t, "revoke", "--digest", id(one)).want(t, 0)
		if got, _ := os.ReadFile(string(file)); string(got) != text+"\nrevoked "+id(one)+"\n" {
			t.Errorf("%q", got)
		}
	}
}

// A running agent obeys it.
func TestAgentsObeyABrokenSource(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one+"\n"+two+"\n")
	r := startReceiver(t, string(file))
	r.until(t, two, nil)
	put(t, string(file), one+"\n"+two+"\nbroken\n")
	file.do(t, "revoke", "--digest", id(two)).want(t, 0)
	r.until(t, two, verify.ErrRevokedToken)
	r.until(t, one, nil)
}

// Verification keys, too.
func TestRevokeInABrokenDirectoryOfKeys(t *testing.T) {
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "jwks.json"), `{"keys":[`)
	before := filepath.Join(string(dir), "revoked")
	dir.do(t, "revoke", "--kid", "a b").want(t, 0, "every key and token of that kid", "THE SOURCE IS BROKEN")
	dir.do(t, "revoke", "--digest", id(two)).want(t, 0)
	if got, err := os.ReadFile(before); err != nil || string(got) != "kid a b\n"+id(two)+"\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, _ := os.ReadFile(filepath.Join(string(dir), "jwks.json")); string(got) != `{"keys":[` {
		t.Errorf("%q", got)
	}
	file := path(filepath.Join(string(dir), "set.json"))
	put(t, string(file), `{"keys":[{"kty":"x"}]}`)
	file.do(t, "revoke", "--digest", id(two)).want(t, 1)
}
