package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// asProgram is the variable that makes the test binary run as the program, for tests that
// need a process of its own: signals, a terminal, memory.
const asProgram = "TEST_CLI_AS_PROGRAM"

func init() { runtime.LockOSThread() } //nolint:gochecknoinits // as in main.go

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(context.Background(), "v0-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// program returns a command that runs the program with args. It is not started.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "GOCOVERDIR="+t.TempDir())
	return cmd
}

const (
	good = "CANARY-77ab10-good"
	bad  = "CANARY-77ab10-bad!"
)

type outcome struct {
	code        int
	out, errOut string
}

// invoke runs the command line, and fails the test if it shows a token.
func invoke(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errOut bytes.Buffer
	code := Main(ctx, "v0-test", args, strings.NewReader(stdin), &out, &errOut)
	for _, text := range []string{out.String(), errOut.String()} {
		if strings.Contains(text, "CANARY-77ab") {
			t.Errorf("%v shows a token:\n%s", args, text)
		}
	}
	return outcome{code, out.String(), errOut.String()}
}

// want checks the exit code, and that the output has each of texts.
func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", o.code, code, o.out, o.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.errOut, text) {
			t.Errorf("%q is missing in:\n%s%s", text, o.out, o.errOut)
		}
	}
}

// file writes text to a new file and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsage(t *testing.T) {
	path := file(t, good)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no command":        {nil, "a command is missing"},
		"unknown command":   {[]string{"rnu"}, "did you mean run?"},
		"a token":           {[]string{good}, "no command of that name"},
		"unknown flag":      {[]string{"run", "--token-flie", path}, "unknown flag"},
		"a token as flags":  {[]string{"verify", "-" + good}, "only long flags exist"},
		"a token as value":  {[]string{"run", "--overlap", good}, "--overlap must be a duration"},
		"empty listen":      {[]string{"run", "--token-file", path, "--listen="}, "--listen has an empty value"},
		"an argument":       {[]string{"verify", "--token-file", path, good}, "takes no arguments"},
		"negative delay":    {[]string{"run", "--token-file", path, "--shutdown-delay=-1s"}, "--shutdown-delay must not be negative"},
		"grpc on listen":    {[]string{"run", "--token-file", path, "--grpc-listen", "127.0.0.1:9465"}, "--grpc-listen and --listen"},
		"grpc on admin":     {[]string{"run", "--token-file", path, "--grpc-listen", "unix:///a", "--admin-listen", "unix:///a"}, "--grpc-listen and --admin-listen"},
		"upstream path":     {[]string{"run", "--token-file", path, "--upstream", "http://h:1/x"}, "--upstream must be"},
		"upstream scheme":   {[]string{"run", "--token-file", path, "--upstream", "ftp://h:1"}, "--upstream must begin"},
		"upstream userinfo": {[]string{"run", "--token-file", path, "--upstream", "http://u:" + good + "@h:1"}, "--upstream must be"},
		"allow-path alone":  {[]string{"run", "--token-file", path, "--allow-path", "/x"}, "go with --upstream"},
		"allow-path form":   {[]string{"run", "--token-file", path, "--upstream", "http://h:1", "--allow-path", "/x/../y"}, "--allow-path"},
		"header form":       {[]string{"run", "--token-file", path, "--header", "a b"}, "--header"},
		"log level":         {[]string{"run", "--token-file", path, "--log-level", "loud"}, "--log-level must be"},
		"log format":        {[]string{"run", "--token-file", path, "--log-format", "xml"}, "--log-format must be"},
		"output":            {[]string{"check", "--token-file", path, "--output", "yaml"}, "--output must be"},
		"output of a step":  {[]string{"rotate", "stage", "--output", "yaml", path}, "--output must be text or json"},
		"output of a run":   {[]string{"rotate", "run", "--output", "yaml", path}, "--output must be text or json"},
		"empty input":       {[]string{"verify", "--token-file", path}, "standard input is empty"},
		"agent url":         {[]string{"status", "--agent", "localhost"}, "--agent must be"},
		"agent query":       {[]string{"status", "--agent", "http://127.0.0.1:1/?t=" + good}, "--agent must be"},
		"rotate's agent":    {[]string{"rotate", "promote", path, "--agent", "http://127.0.0.1:1/?t=" + good}, "--agent must be"},
		"no timeout":        {[]string{"status", "--timeout", "0s"}, "--timeout must be above 0s"},
		"negative timeout":  {[]string{"status", "--timeout=-1s"}, "--timeout must be above 0s"},
		"name form":         {[]string{"run", "--token-file", path, "--name", "a/b"}, "--name must be letters"},
		"key-name form":     {[]string{"run", "--key-file", path, "--issuer", "i", "--audience", "a", "--key-name", "a/b"}, "--key-name must be letters"},
		"state in source":   {[]string{"run", "--token-file", path, "--state-file", path}, "--state-file is the source"},
		"completion":        {[]string{"completion", "bash", good}, "takes no arguments"},
		"completion zsh":    {[]string{"completion", "zsh", good}, "takes no arguments"},
		"completion alone":  {[]string{"completion", good}, "no command of that name"},
	} {
		t.Run(name, func(t *testing.T) { invoke(t, "", c.args...).want(t, 2, c.want, "--help'") })
	}
}

// TestNoSourceIsUsage checks that a missing source is a usage error, and that a bad source
// is not.
func TestNoSourceIsUsage(t *testing.T) {
	for _, name := range []string{"APP_API_TOKEN", "APP_API_TOKEN_FILE"} {
		t.Setenv(name, "") // so that it is restored
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	commands := [][]string{{"run"}, {"check"}, {"verify"}}
	for _, args := range commands {
		invoke(t, good, args...).want(t, 2, "no source; set --token-file")
	}
	t.Setenv("APP_API_TOKEN_FILE", "")
	for _, args := range commands {
		invoke(t, good, args...).want(t, 2, "APP_API_TOKEN_FILE is empty")
	}
	t.Setenv("APP_API_TOKEN", good)
	invoke(t, "", "check").want(t, 2, "unset one")
	invoke(t, "", "run", "--token-file", file(t, "short")).want(t, 1)
	invoke(t, "", "run", "--token-file", file(t, good)+"-none").want(t, 1)
	invoke(t, good, "verify", "--token-env", "NO_SUCH_VARIABLE").want(t, 1)
}

func TestEnvironmentSetsFlags(t *testing.T) {
	t.Setenv("TOKENAGENT_TOKEN_FILE", file(t, good))
	invoke(t, good, "verify").want(t, 0, "accepted")
	t.Setenv("TOKENAGENT_OUTPUT", "json")
	invoke(t, good, "verify").want(t, 0, `"accepted": true`)
	invoke(t, good, "verify", "--output", "text").want(t, 0, "accepted: token") // the flag wins
	t.Setenv("TOKENAGENT_AUDIENCE", "meant,for,run")
	t.Setenv("TOKENAGENT_OUTPUT", "text")
	invoke(t, "", "generate").want(t, 0)
	t.Setenv("TOKENAGENT_MIN_TOKEN_BYTES", "many")
	invoke(t, good, "verify").want(t, 2, "TOKENAGENT_MIN_TOKEN_BYTES must be a whole number")
}

func TestVersion(t *testing.T) {
	invoke(t, "", "version").want(t, 0, "tokenagent v0-test (go")
}

func TestVerify(t *testing.T) {
	path := file(t, good+"\n")
	invoke(t, good, "verify", "--token-file", path).want(t, 0, "accepted: token", "is current in source token")
	invoke(t, " \t"+good+"\r\n", "verify", "--token-file", path).want(t, 0, "accepted")
	invoke(t, bad, "verify", "--token-file", path).want(t, 1, "refused: token", "is invalid")
	o := invoke(t, bad, "verify", "--token-file", path, "--output", "json")
	o.want(t, 1)
	var v map[string]any
	if err := json.Unmarshal([]byte(o.out), &v); err != nil {
		t.Fatal(err)
	}
	if v["accepted"] != false || v["reason"] != "invalid" {
		t.Errorf("%s", o.out)
	}
	invoke(t, good, "verify", "--token-file", path+"-none").want(t, 1, "tokenagent: ", path+"-none")
}

func TestCheck(t *testing.T) {
	expired, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": 1}).SignedString([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		code int
		want []string
	}{
		"good":     {good, 0, []string{"is a file of 18 bytes, mode -rw-------", "current: ", "good: an agent would start"}},
		"slots":    {good + "\n" + bad + " next\n" + bad + "2 previous", 0, []string{"next: ", "previous: ", "warning: the previous token", "has no deadline"}},
		"expired":  {expired, 0, []string{"warning: the current token", "is a JWT that expired"}},
		"short":    {good + "\nabc", 1, []string{"error: ", ":2: the token is 3 bytes, shorter than 16", "bad: "}},
		"empty":    {"", 1, []string{"error: ", "empty"}},
		"revoked":  {fmt.Sprintf("%s\nrevoked %s", good, "2b7ad1e58b9a0e0ac3b41d0f0f1b4f3cfad6b8d1ab9be9ee3c1f0c87dde3d2cc"), 0, []string{"1 revoked"}},
		"two more": {good + " what", 1, []string{":1: only next, previous, until= or name= may follow"}},
	} {
		t.Run(name, func(t *testing.T) {
			invoke(t, "", "check", "--token-file", file(t, c.text)).want(t, c.code, c.want...)
			o := invoke(t, "", "check", "--token-file", file(t, c.text), "--output", "json")
			var r report
			if err := json.Unmarshal([]byte(o.out), &r); err != nil {
				t.Fatal(err)
			}
			if r.OK != (c.code == 0) || len(r.Findings) == 0 {
				t.Errorf("%s", o.out)
			}
		})
	}
}

func TestCheckExplainsAMount(t *testing.T) {
	dir := t.TempDir()
	payload := map[string][]byte{"token": []byte(good), "token-previous": []byte(bad), "token-previous-until": []byte("2999-01-01T00:00:00Z")}
	if err := kubemount.Write(dir, payload, 0o444); err != nil {
		t.Fatal(err)
	}
	invoke(t, "", "check", "--token-file", dir).want(t, 0, "is a mounted Secret", "key token: 18 bytes", "previous: ", "accepted for another", "can be read by everyone")
	invoke(t, "", "check", "--token-file", filepath.Join(dir, "token")).want(t, 0, "it is a key of a mounted Secret")
	if err := kubemount.Write(dir, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	invoke(t, "", "check", "--token-file", dir).want(t, 1, "no key token")
}

func TestCheckSaysThatVariablesCannotChange(t *testing.T) {
	t.Setenv("SOME_TOKEN", good)
	invoke(t, "", "check", "--token-env", "SOME_TOKEN").want(t, 0, "SOME_TOKEN is an environment variable", "environment cannot change")
}

func TestStatus(t *testing.T) {
	now := time.Now()
	s := agent.Status{Schema: 1, Ready: true, Sources: []agent.SourceStatus{{
		Name: "token", Kind: "file", Location: "/x", Ready: true, Generation: 3, Rotations: 2, WatchMode: "events", LastReloadGood: true, LastChange: now,
		Tokens: []agent.TokenStatus{
			{Slot: "current", Fingerprint: "aaaaaaaa", Declared: true},
			{Slot: "previous", Fingerprint: "bbbbbbbb", Deadline: now.Add(time.Hour), LastUsed: now},
		},
		PreviousUsers: []agent.PreviousUser{{Host: "10.1.2.3", Fingerprint: "bbbbbbbb", Last: now}},
	}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	invoke(t, "", "status", "--agent", server.URL).want(t, 0, "source token: ready", "previous", "bbbbbbbb, accepted for another 1h0m0s", "used by", "10.1.2.3")
	invoke(t, "", "status", "--agent", server.URL, "--output", "json").want(t, 0, `"schema": 1`)
	s.Sources[0].LastReloadGood, s.Sources[0].Error = false, "the error"
	invoke(t, "", "status", "--agent", server.URL).want(t, 1, "the error")
	const hostile = "\x1b]0;x\x07\r\n\u009b2J"
	was := s.Sources[0]
	s.Sources[0].Name, s.Sources[0].Kind, s.Sources[0].Location, s.Sources[0].WatchMode = hostile, hostile, hostile, hostile
	s.Sources[0].Error, s.Sources[0].StateError, s.Sources[0].Limits = hostile, hostile, []string{hostile}
	s.Sources[0].Tokens = []agent.TokenStatus{{Client: hostile, Slot: hostile, Fingerprint: hostile}}
	s.Sources[0].PreviousUsers = []agent.PreviousUser{{Client: hostile, Host: hostile, Fingerprint: hostile}}
	o := invoke(t, "", "status", "--agent", server.URL)
	o.want(t, 1)
	if strings.ContainsFunc(strings.ReplaceAll(o.out, "\n", ""), unicode.IsControl) {
		t.Errorf("a control character reaches the terminal: %q", o.out)
	}
	if n := strings.Count(o.out, `\u001b]0;x\u0007\u000d\u000a\u009b2J`); n != 13 {
		t.Errorf("%d escaped values, want 13: %q", n, o.out)
	}
	s.Sources[0] = was
	s.Schema = 2
	invoke(t, "", "status", "--agent", server.URL).want(t, 1, "schema 2")
	invoke(t, "", "status", "--agent", server.URL+"/other").want(t, 1, "404")
	server.Close()
	invoke(t, "", "status", "--agent", server.URL).want(t, 1, "no answer from the agent")
}

func TestStatusShowsClients(t *testing.T) {
	now := time.Now()
	var tokens []agent.TokenStatus
	for i := range 200 {
		tokens = append(tokens, agent.TokenStatus{Client: fmt.Sprintf("client-%03d", i), Slot: "current", Fingerprint: fmt.Sprintf("aaaa%04d", i), LastUsed: now.Add(-time.Minute), Uses: 7})
	}
	tokens[9].LastUsed, tokens[9].Uses = time.Time{}, 0
	tokens = append(tokens, agent.TokenStatus{Client: "client-150", Slot: "previous", Fingerprint: "bbbbbbbb", Deadline: now.Add(time.Hour), LastUsed: now, Uses: 1})
	s := &realm.Status{Status: agent.Status{Sources: []agent.SourceStatus{{
		Name: "token", Tokens: tokens, PreviousUsers: []agent.PreviousUser{{Client: "client-150", Host: "10.1.2.3", Fingerprint: "bbbbbbbb", Last: now}},
	}}}}
	text := statusText(s, now)
	for _, want := range []string{
		"  clients         200 named clients, 1 with an old token in use\n" +
			"  current         aaaa0150 of client client-150, last used 1m0s ago, 7 uses\n" +
			"  previous        bbbbbbbb of client client-150, accepted for another 1h0m0s, last used 0s ago, 1 use\n" +
			"  current         aaaa0000 of client client-000, last used 1m0s ago, 7 uses\n",
		"aaaa0009 of client client-009, last used never, 0 uses\n",
		"used by         10.1.2.3 with bbbbbbbb of client client-150, last 0s ago\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	s.Sources[0].Tokens = []agent.TokenStatus{{Slot: "current", Fingerprint: "aaaa0001"}}
	if text := statusText(s, now); strings.Contains(text, "clients") || strings.Contains(text, "uses") {
		t.Errorf("a source without named clients:\n%s", text)
	}
}

func TestRunStopsCleanly(t *testing.T) {
	path := file(t, good)
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	listens := make(chan struct{})
	log := &waiter{text: "for=admin-listen", found: listens}
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, "", []string{"run", "--token-file", path, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, strings.NewReader(""), &out, log)
	}()
	select {
	case <-listens:
	case <-time.After(20 * time.Second):
		t.Error("run does not listen")
	}
	cancel()
	if code := <-ended; code != 0 || out.Len() != 0 {
		t.Errorf("exit code %d, output %q", code, out.String())
	}
}

// A waiter is a log. It closes found when text is written, and then, after that, when next
// is written.
type waiter struct {
	text, next  string
	found, then chan struct{}
}

func (w *waiter) Write(p []byte) (int, error) { // slog writes one record at a time
	if w.text != "" && bytes.Contains(p, []byte(w.text)) {
		close(w.found)
		w.text, w.found, w.next, w.then = w.next, w.then, "", nil
	}
	return len(p), nil
}

// TestHelpHasOnlyLongFlags, and each command has a description.
func TestHelpHasOnlyLongFlags(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Hidden {
			continue
		}
		if c.Short == "" {
			t.Errorf("%s has no description", c.Name())
		}
		help := invoke(t, "", c.Name(), "--help")
		help.want(t, 0)
		for line := range strings.Lines(help.out) {
			if l := strings.TrimSpace(line); strings.HasPrefix(l, "-") && !strings.HasPrefix(l, "--") && !strings.HasPrefix(l, "-h, --help") {
				t.Errorf("%s has a short flag: %s", c.Name(), l)
			}
		}
	}
}

// TestOutputIsEscaped checks that a path in the output cannot control the terminal.
func TestOutputIsEscaped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a\x1b[2J")
	if err := os.WriteFile(path, []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
	check := invoke(t, "", "check", "--token-file", path)
	check.want(t, 0, `a\u001b[2J`)
	status := invoke(t, "", "rotate", "status", path+"\x1b")
	status.want(t, 1, `\u001b`)
	for _, text := range []string{check.out, status.out, status.errOut} {
		if strings.Contains(text, "\x1b") {
			t.Errorf("%q", text)
		}
	}
}

// TestHelpOfRunIsByTopic checks the order of the headings, and of a flag under each.
func TestHelpOfRunIsByTopic(t *testing.T) {
	out := invoke(t, "", "run", "--help").out
	for _, want := range []string{"\nSource:\n", "--token-file PATH", "\nSigned tokens:\n", "--issuer ISS", "\nOverlap:\n", "--state-file", "\nListeners:\n", "--listen ADDR", "\nProxy:\n", "--upstream URL", "\nTLS and Unix sockets:\n", "--admin-tls-cert-file", "\nLogging:\n", "--log-level", "\nOther:\n  -h, --help"} {
		_, rest, ok := strings.Cut(out, want)
		if out = rest; !ok {
			t.Fatalf("%q is missing, or not in order", want)
		}
	}
}
