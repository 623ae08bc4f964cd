//go:build unix

package supervise_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command []string
		code    int
	}{
		"good":    {[]string{"exit", "0"}, 0},
		"failed":  {[]string{"exit", "7"}, 7},
		"as ours": {[]string{"exit", "2"}, 2},
		"killed":  {[]string{"die", "9"}, 137},
		"ended":   {[]string{"die", "15"}, 143},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, setting{command: c.command})
			r.ends(c.code)
			if r.log.count("--help") > 0 {
				t.Error("the program's failure is taken for a wrong use of exec")
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	environ := []string{"THE_TOKEN=stale", "THE_TOKEN_FILE=/x", "TOKENAGENT_ENV=THE_TOKEN", "EMPTY="}
	r := run(t, setting{environ: environ, command: []string{"environ"}})
	r.ends(0)
	var want []string
	for _, e := range append(append(os.Environ(), common()...), "THE_TOKEN="+tokenA, "THE_TOKEN_FILE=/x", "TOKENAGENT_ENV=THE_TOKEN", "EMPTY=") {
		name, value, _ := strings.Cut(e, "=")
		line := "environ " + name + " " + fingerprint(value) + "\n"
		want = append(want, line)
		if r.out.count(line) != 1 {
			t.Errorf("%s is not there once with its value", name)
		}
	}
	if got := r.out.count("environ "); got != len(want) {
		t.Errorf("%d variables, want %d", got, len(want))
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env", "THE_TOKEN", "--restart-delay", "0s"}, command: []string{"loop"}})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.prints("got terminated")
	r.prints("started with " + fingerprint(tokenB))
	r.send(syscall.SIGTERM)
	r.ends(5)
	if n := r.out.count("started with"); n != 2 {
		t.Errorf("started %d times", n)
	}
}

// TestRevokedIsReplacedAtOnce asks the real agent whether it revokes.
func TestRevokedIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay", "1h"}, command: []string{"loop"}})
	r.prints("started with " + fingerprint(tokenA))
	id := verify.Digest(tokenA)
	r.rotate(fmt.Sprintf("%s\nrevoked %x", tokenB, id[:]))
	r.prints("got terminated")
	r.logs("the token of the program is revoked")
	r.prints("started with " + fingerprint(tokenB))
	r.send(syscall.SIGTERM)
	r.ends(5)
}

// TestNewWaitsForOld: each program uses the same port until it ends.
func TestNewWaitsForOld(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay=0s"}, command: []string{"port", addr}})
	r.prints("started with " + fingerprint(tokenA))
	for i := range 5 {
		token := tokenB + strconv.Itoa(i)
		r.rotate(token)
		r.prints("started with " + fingerprint(token))
	}
	if r.out.count("the port is taken") > 0 {
		t.Error("a program was started before the one before had ended")
	}
	r.send(syscall.SIGTERM)
	r.ends(0)
}

func TestKilledAfterTheStopTimeout(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay=0s", "--stop-timeout=10ms"}, command: []string{"deaf"}})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.logs("did not end in time and is killed")
	r.prints("started with " + fingerprint(tokenB))
	r.send(syscall.SIGINT) // by others it is not killed
	r.prints("got interrupt")
	r.send(syscall.SIGUSR1)
	r.prints("got user defined signal 1")
}

func TestSignals(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN"}, command: []string{"loop"}})
	r.prints("started with")
	for _, sig := range []syscall.Signal{
		syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGCONT,
	} {
		r.send(sig)
		r.prints("got " + sig.String())
	}
	r.send(syscall.SIGINT)
	r.ends(5)
}

// TestHangupReads rewrites the file in place. The debounce is an hour, and SIGHUP says that
// the file is complete.
func TestHangupReads(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay=0s", "--debounce=1h"}, command: []string{"loop"}})
	r.prints("started with " + fingerprint(tokenA))
	if err := os.WriteFile(r.token, []byte(tokenB), 0o600); err != nil {
		t.Fatal(err)
	}
	r.send(syscall.SIGHUP)
	r.logs("SIGHUP: all sources were read")
	r.prints("started with " + fingerprint(tokenB))
	r.send(syscall.SIGTERM)
	r.ends(5)
	if r.out.count("got hangup") > 0 {
		t.Error("SIGHUP was forwarded")
	}
}

func TestSignalOnChange(t *testing.T) {
	t.Parallel()
	r := run(t, setting{
		flags:   []string{"--env=THE_TOKEN", "--restart-delay=0s", "--on-change=signal", "--signal=SIGUSR2"},
		command: []string{"loop"},
	})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.prints("got user defined signal 2")
	r.send(syscall.SIGTERM)
	r.ends(5)
	if n := r.out.count("started with"); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func TestTermInTheDelay(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay=1h"}, command: []string{"slow"}})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.logs("the token has changed")
	r.send(syscall.SIGTERM)
	r.prints("got terminated")
	r.send(syscall.SIGUSR1)
	r.ends(6)
	if n := r.out.count("started with"); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func TestTermWhileStopping(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN", "--restart-delay=0s"}, command: []string{"slow"}})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.prints("got terminated") // from exec
	r.send(syscall.SIGTERM)
	r.logs("the program is stopping already")
	r.send(syscall.SIGUSR1)
	r.ends(6)
	if n, m := r.out.count("started with"), r.out.count("got terminated"); n != 1 || m != 1 {
		t.Errorf("started %d times and told to end %d times", n, m)
	}
}

func TestTermWhileWaiting(t *testing.T) {
	t.Parallel()
	r := run(t, setting{empty: true, flags: []string{"--wait-for-source"}, command: []string{"exit", "0"}})
	r.logs("watching the source")
	r.send(syscall.SIGTERM)
	r.ends(143)
}

func TestWaitsForTheSource(t *testing.T) {
	t.Parallel()
	r := run(t, setting{empty: true, flags: []string{"--wait-for-source", "--env=THE_TOKEN"}, command: []string{"loop"}})
	r.logs("watching the source")
	r.rotate(tokenA)
	r.prints("started with " + fingerprint(tokenA))
	r.send(syscall.SIGTERM)
	r.ends(5)
}

func TestWithoutASource(t *testing.T) {
	t.Parallel()
	r := run(t, setting{empty: true, command: []string{"exit", "0"}})
	r.ends(1)
	r.logs("tokenagent: agent: ")
}

func TestAdminPort(t *testing.T) {
	t.Parallel()
	r := run(t, setting{
		flags: []string{"--env=THE_TOKEN", "--restart-delay=1h", "--admin-listen=127.0.0.1:0"}, command: []string{"loop"},
	})
	r.prints("started with " + fingerprint(tokenA))
	line := r.logs("for=admin-listen")
	addr := line[strings.LastIndex(line, "addr=")+len("addr="):]
	r.rotate(tokenB)
	r.logs("the token has changed")
	for path, wants := range map[string][]string{
		"/metrics": {
			`tokenagent_exec_restarts_total{reason="change"} 0`, "tokenagent_exec_running 1",
			`tokenagent_exec_token_info{fingerprint="` + fingerprint(tokenA) + `"} 1`,
			`tokenagent_token_info{fingerprint="` + fingerprint(tokenB) + `",slot="current",source="token"} 1`,
		},
		"/status": {`"fingerprint": "` + fingerprint(tokenB) + `"`},
		"/readyz": {"ok"},
		"/livez":  {"ok"},
		"/":       {"tokenagent"},
	} {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", path, res.Status, err)
		}
		for _, want := range wants {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s lacks %s:\n%s", path, want, body)
			}
		}
		if strings.Contains(string(body), canary) {
			t.Errorf("%s shows a token", path)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	r.send(syscall.SIGTERM)
	r.ends(5)
}
