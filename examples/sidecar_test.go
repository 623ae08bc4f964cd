package examples

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/testlog"
)

// start runs a program until stop, which ends it by SIGTERM and fails where it
// does not end well, or shows a token. A test that fails stops it, too.
func start(t *testing.T, env []string, name string, args ...string) (out *testlog.Log, stop func()) {
	t.Helper()
	ctx, kill := context.WithCancel(context.Background())
	out = new(testlog.Log)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(cmd.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		kill()
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		defer kill()
		defer time.AfterFunc(20*time.Second, kill).Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s after SIGTERM: %v\n%s", name, err, out)
		}
		if strings.Contains(out.String(), first) || strings.Contains(out.String(), second) {
			t.Errorf("the output of %s shows a token", name)
		}
	})
	t.Cleanup(stop)
	return out, stop
}

// TestSidecar puts the program before apps in languages whose SDKs check no
// token.
func TestSidecar(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM")
	}
	agent := filepath.Join(t.TempDir(), "tokenagent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", agent, "../cmd/tokenagent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for interpreter, script := range map[string]string{"node": "node-dapr/app.js", "python3": "python-dapr/app.py"} {
		t.Run(interpreter, func(t *testing.T) {
			if _, err := exec.LookPath(interpreter); err != nil {
				t.Skipf("%s is not installed", interpreter)
			}
			guarded(t, agent, interpreter, script)
		})
	}
}

func guarded(t *testing.T, agent, interpreter, script string) {
	t.Helper()
	appAddr := freeAddr(t)
	_, port, _ := strings.Cut(appAddr, ":")
	p := prepared(t)
	app, stopApp := start(t, []string{"PORT=" + port}, interpreter, script)
	_, stopAgent := start(t, nil, agent, "run", "--token-file", p.tokenFile, "--name", "daprd", "--listen", p.addr, "--admin-listen", "",
		"--upstream", "http://"+appAddr, "--health-path", "/healthz")
	url := "http://" + p.addr
	health := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	until(t, "the app answers its health check", func() bool { return health() == http.StatusOK })
	order := func(token string) int { code, _ := ask(t, http.MethodPost, url+"/orders", token); return code }
	if code, _ := ask(t, http.MethodGet, url+"/dapr/subscribe", ""); code != http.StatusUnauthorized {
		t.Errorf("subscriptions without a token: %d", code)
	}
	if code, body := ask(t, http.MethodGet, url+"/dapr/subscribe", first); code != http.StatusOK || !strings.Contains(body, `"/orders"`) {
		t.Errorf("subscriptions: %d %s", code, body)
	}
	if code := order(""); code != http.StatusUnauthorized {
		t.Errorf("an order without a token: %d", code)
	}
	if strings.Contains(app.String(), "order ") {
		t.Errorf("the app saw it: %s", app)
	}
	if code := order(first); code != http.StatusOK {
		t.Errorf("an order: %d", code)
	}
	until(t, "the app knows who sent it", func() bool { return strings.Contains(app.String(), " from daprd") })
	p.put(t, second)
	until(t, "the new token is accepted", func() bool { return order(second) == http.StatusOK })
	if code := order(first); code != http.StatusOK {
		t.Errorf("the old token in its overlap: %d", code)
	}
	digest := sha256.Sum256([]byte(first))
	p.put(t, second+"\nrevoked "+hex.EncodeToString(digest[:])+"\n")
	until(t, "the old token is refused", func() bool { return order(first) == http.StatusUnauthorized })
	if code := order(second); code != http.StatusOK {
		t.Errorf("the new token after the revocation: %d", code)
	}
	stopAgent() // as a sidecar does, first
	stopApp()
}

// prepared has an address and a token file.
func prepared(t *testing.T) program {
	t.Helper()
	p := program{addr: freeAddr(t), tokenFile: filepath.Join(t.TempDir(), "token")}
	p.put(t, first)
	return p
}
