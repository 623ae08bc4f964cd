package rotate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Tokens, none of which may be seen outside of a Secret.
const (
	one   = "CANARY-1c3a9e-one-"
	two   = "CANARY-1c3a9e-two-"
	three = "CANARY-1c3a9e-three"
	four  = "CANARY-1c3a9e-four-"
	five  = "CANARY-1c3a9e-five-"
)

func id(token string) string {
	d := verify.Digest(token)
	return hex.EncodeToString(d[:])
}

func fingerprint(token string) string { return id(token)[:8] }

type outcome struct {
	code        int
	out, errOut string
}

// run runs the command. stdout may show tokens where secret says so.
func run(t *testing.T, stdin string, secret bool, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := rotate.Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(&errs, err)
	}
	shown := errs.String()
	if !secret {
		shown += out.String()
	}
	for _, text := range []string{"CANARY-1c3a", base64.StdEncoding.EncodeToString([]byte("CANARY-1c3a9e-"))[:12]} {
		if strings.Contains(shown, text) {
			t.Errorf("%v shows a token:\n%s", args, shown)
		}
	}
	return outcome{exitcode.Of(err), out.String(), errs.String()}
}

func (o outcome) want(t *testing.T, code int, texts ...string) outcome {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", o.code, code, o.out, o.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.errOut, text) {
			t.Errorf("%q is missing in:\n%s%s", text, o.out, o.errOut)
		}
	}
	return o
}

// A bench is a target to rotate in, of one kind.
type bench interface {
	// do performs a step with its flags.
	do(t *testing.T, step string, flags ...string) outcome
	// bytes is all that is there, to be compared.
	bytes(t *testing.T) string
	source(t *testing.T) content.Source
	content(t *testing.T) content.Content
}

// benches makes one target of each kind, with the current token one: that of the unnamed
// client, and that of a client among others.
func benches(t *testing.T) map[string]bench {
	t.Helper()
	all := targets(t, map[string]string{"token": one}, "# ours\n"+one+"\n")
	others := map[string]string{"token": four + "\n", "token.web": " " + five, "token-previous.web": three + "-of-web", "token-previous-until.web": "2999-01-02T03:04:05+01:00\n"}
	keys := maps.Clone(others)
	keys["token.ci"] = one
	lines := []string{" " + five + "\tname=web \n", three + "-of-web  previous name=web until=2999-01-02T03:04:05+01:00\n", four + " \n"}
	for name, b := range targets(t, keys, lines[0]+"# ours\n"+lines[1]+one+" name=ci\n"+lines[2]) {
		c := client{bench: b, name: "ci", kept: others}
		if isFile(b) {
			c.kept = map[string]string{"file": "", "1": lines[0], "2": lines[1], "3": lines[2], "4": "# ours\n"}
		}
		all["client in a "+name] = c
	}
	return all
}

// targets makes one target of each kind: of keys, and a file of lines.
func targets(t *testing.T, keys map[string]string, lines string) map[string]bench {
	t.Helper()
	file, plain, laid := filepath.Join(t.TempDir(), "token"), t.TempDir(), t.TempDir()
	put(t, file, lines)
	data := map[string][]byte{"foreign": []byte("f")}
	for key, value := range keys {
		put(t, filepath.Join(plain, key), value)
		data[key] = []byte(value)
	}
	if err := kubemount.Write(laid, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]bench{"file": path(file), "plain directory": path(plain), "laid out directory": path(laid), "secret": secretOf(t, keys)}
}

func forEachWay(t *testing.T, f func(t *testing.T, b bench)) {
	t.Helper()
	for name, b := range benches(t) {
		t.Run(name, func(t *testing.T) { f(t, b) })
	}
}

// A client is a bench for the steps of one client.
type client struct {
	bench

	name string
	kept map[string]string // keys with their values, or lines of a file, that must stay
}

func (c client) do(t *testing.T, step string, flags ...string) outcome {
	t.Helper()
	o := c.bench.do(t, step, slices.Concat(flags, []string{"--client", c.name})...)
	keys := c.source(t).Keys
	for key, kept := range c.kept {
		if text, isFile := keys["file"]; isFile && !strings.Contains(string(text), kept) || !isFile && string(keys[key]) != kept {
			t.Errorf("%s %v of %s changes %s, %q", step, flags, c.name, key, kept)
		}
	}
	return o
}

func (c client) content(t *testing.T) content.Content {
	t.Helper()
	s, _ := c.source(t).Of(c.name)
	return s.Content
}

// directories makes a directory with keys, those of the unnamed client, and one in which
// they are those of a client beside the unnamed one.
func directories(t *testing.T, keys map[string]string) []bench {
	t.Helper()
	plain, named := t.TempDir(), t.TempDir()
	for key, value := range keys {
		put(t, filepath.Join(plain, key), value)
		if key != "token-revoked" {
			key += ".ci"
		}
		put(t, filepath.Join(named, key), value)
	}
	put(t, filepath.Join(named, "token"), four+"\n")
	return []bench{path(plain), client{path(named), "ci", map[string]string{"token": four + "\n"}}}
}

// target is b without the client.
func target(b bench) bench {
	if c, is := b.(client); is {
		return c.bench
	}
	return b
}

func isFile(b bench) bool {
	p, isPath := target(b).(path)
	return isPath && strings.HasSuffix(string(p), "token")
}

func isSecret(b bench) bool {
	_, is := target(b).(*secret)
	return is
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tokenFile holds one token, for --from.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "from")
	put(t, name, token+"\n")
	return name
}

type path string

func (p path) do(t *testing.T, step string, flags ...string) outcome {
	t.Helper()
	return run(t, "", false, append(append([]string{step}, flags...), string(p))...)
}

func (p path) bytes(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(string(p), func(name string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		text := ""
		switch {
		case info.Mode().IsRegular():
			data, _ := os.ReadFile(name)
			text = string(data)
		case info.Mode()&os.ModeSymlink != 0:
			text, _ = os.Readlink(name)
		}
		fmt.Fprintf(&b, "%s %s %s %q\n", name, info.Mode(), info.ModTime(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parse(t *testing.T, keys map[string][]byte, file string, k content.Kind) content.Source {
	t.Helper()
	s, err := content.Parse(keys, file, content.Options{Kind: k})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p path) content(t *testing.T) content.Content {
	t.Helper()
	return p.source(t).Content
}

func (p path) source(t *testing.T) content.Source {
	t.Helper()
	info, err := os.Stat(string(p))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]byte{}
	if !info.IsDir() {
		keys["file"], _ = os.ReadFile(string(p))
		return parse(t, keys, "file", content.Tokens)
	}
	entries, err := os.ReadDir(string(p))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if content.IsName(content.Names(content.Tokens), e.Name()) {
			keys[e.Name()], _ = os.ReadFile(filepath.Join(string(p), e.Name()))
		}
	}
	return parse(t, keys, "", content.Tokens)
}

// A secret goes through the filter; what comes out takes its place, as with
// kubectl replace.
type secret struct{ text string }

func newSecret() *secret { return secretWith(`{"token": "` + one + `"}`) }

func secretOf(t *testing.T, keys map[string]string) *secret {
	t.Helper()
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return secretWith(string(text))
}

func secretWith(stringData string) *secret {
	return &secret{`{
    "apiVersion": "v1",
    "data": {
        "foreign": "` + base64.StdEncoding.EncodeToString([]byte(three)) + `"
    },
    "stringData": ` + stringData + `,
    "kind": "Secret",
    "metadata": {"name": "app-api-token", "namespace": "shop", "resourceVersion": "41"}
}
`}
}

func (s *secret) do(t *testing.T, step string, flags ...string) outcome {
	t.Helper()
	o := run(t, s.text, step != "status", append([]string{step}, flags...)...)
	switch {
	case step == "status":
	case o.code == 0 && (o.out == "") != slices.Contains(flags, "--dry-run"):
		t.Errorf("%s %v writes %d bytes for kubectl replace", step, flags, len(o.out))
	case o.code != 0 && o.out != "":
		t.Errorf("%s fails and writes %q", step, o.out)
	case o.code == 0 && o.out != "":
		s.text = o.out
	}
	return o
}

func (s *secret) bytes(*testing.T) string { return s.text }

func (s *secret) content(t *testing.T) content.Content {
	t.Helper()
	return s.source(t).Content
}

func (s *secret) source(t *testing.T) content.Source {
	t.Helper()
	var v struct {
		Data       map[string][]byte `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	if err := json.Unmarshal([]byte(s.text), &v); err != nil {
		t.Fatal(err)
	}
	for key, value := range v.StringData {
		v.Data[key] = []byte(value)
	}
	return parse(t, v.Data, "", content.Tokens)
}
