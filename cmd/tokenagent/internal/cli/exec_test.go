//go:build unix

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestExecUsage(t *testing.T) {
	path := file(t, good)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no program":       {[]string{"--token-file", path}, "takes the program to run after --"},
		"nothing after":    {[]string{"--token-file", path, "--"}, "takes the program to run after --"},
		"no dashes":        {[]string{"--token-file", path, "true"}, "takes the program to run after --"},
		"one before":       {[]string{"--token-file", path, good, "--", "true"}, "takes the program to run after --"},
		"empty program":    {[]string{"--token-file", path, "--", ""}, "the program is missing"},
		"no source":        {[]string{"--", "true"}, "--token-file or --env-file is missing"},
		"env as a source":  {[]string{"--token-env", "X", "--", "true"}, "--token-file or --env-file is missing"},
		"env":              {[]string{"--token-file", path, "--env", good, "--", "true"}, "--env must be the name"},
		"negative delay":   {[]string{"--token-file", path, "--restart-delay=-1s", "--", "true"}, "--restart-delay must not be negative"},
		"no stop timeout":  {[]string{"--token-file", path, "--stop-timeout=0s", "--", "true"}, "--stop-timeout must be longer"},
		"stop signal":      {[]string{"--token-file", path, "--stop-signal=15", "--", "true"}, "--stop-signal must be the name"},
		"signal":           {[]string{"--token-file", path, "--on-change=signal", "--signal=NONE", "--", "true"}, "--signal must be the name"},
		"on change":        {[]string{"--token-file", path, "--on-change=reload", "--", "true"}, "--on-change must be"},
		"unknown log form": {[]string{"--token-file", path, "--log-format=xml", "--", "true"}, "--log-format must be"},
	} {
		t.Run(name, func(t *testing.T) {
			invoke(t, "", append([]string{"exec"}, c.args...)...).want(t, 2, c.want, "--help'")
		})
	}
}

func TestExecRefuses(t *testing.T) {
	path := file(t, good)
	dir := t.TempDir()
	invoke(t, "", "exec", "--token-file", path, "--", "no-such-program").want(t, 127, "tokenagent: no-such-program: not found")
	invoke(t, "", "exec", "--token-file", path, "--", filepath.Join(dir, "none")).want(t, 127, "not found")
	invoke(t, "", "exec", "--token-file", path, "--", dir).want(t, 126, "cannot be executed")
	invoke(t, "", "exec", "--token-file", path, "--", path).want(t, 126, "cannot be executed")
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte{0, 1, 2, 3}, 0o700); err != nil {
		t.Fatal(err)
	}
	invoke(t, "", "exec", "--token-file", path, "--", script).want(t, 126, "cannot be executed")
	invoke(t, "", "exec", "--token-file", path+"-none", "--", "true").want(t, 1, path+"-none")
	invoke(t, "", "exec", "--token-file", path, "--admin-listen", "127.0.0.1:none", "--", "true").want(t, 2, "--admin-listen: there is no port none; give it as host:port")
	id := verify.Digest(good)
	revoked := file(t, fmt.Sprintf("%s\nrevoked %x\n", good, id[:]))
	invoke(t, "", "exec", "--token-file", revoked, "--", "true").want(t, 1, "no current token")
}

// TestSignalBeforeExecStarts ends the context before the program starts, as a signal does.
func TestSignalBeforeExecStarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut strings.Builder
	code := Main(ctx, "", []string{"exec", "--token-file", file(t, good), "--", "true"}, strings.NewReader(""), &out, &errOut)
	if code != 143 || errOut.String() != "" {
		t.Errorf("exit code %d\n%s", code, errOut.String())
	}
}

func TestExecSource(t *testing.T) {
	t.Setenv(agent.DaprTokenEnv+"_FILE", file(t, good))
	t.Setenv(agent.DaprTokenEnv, "the value that exec replaces")
	r := invoke(t, "", "exec", "--", "true")
	r.want(t, 0)
	if strings.Contains(r.errOut, "is not the source") {
		t.Errorf("exec warns of the variable that it replaces:\n%s", r.errOut)
	}
}

func TestExecDelay(t *testing.T) {
	local := t.TempDir()                                           // has the form of a mount, but no kubelet that updates it late
	mount := filepath.Join(local, "kubernetes.io~secret", "token") // as on the kubelet's host
	if err := os.MkdirAll(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{local, mount} {
		if err := kubemount.Write(dir, map[string][]byte{"token": []byte(good)}, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		cfg  agent.Config
		flag string
		want time.Duration
	}{
		{agent.Config{TokenFile: file(t, good)}, "", 15 * time.Second},
		{agent.Config{TokenFile: local}, "", 15 * time.Second},
		{agent.Config{TokenFile: filepath.Join(local, "token")}, "", 15 * time.Second},
		{agent.Config{EnvFile: filepath.Join(local, "token")}, "", 15 * time.Second},
		{agent.Config{TokenFile: mount}, "", 2 * time.Minute},
		{agent.Config{TokenFile: filepath.Join(mount, "token")}, "", 2 * time.Minute},
		{agent.Config{EnvFile: filepath.Join(mount, "token")}, "", 2 * time.Minute},
		{agent.Config{TokenFile: mount}, "0s", 0},
		{agent.Config{TokenFile: mount}, "1s", time.Second},
	} {
		var e execFlags
		cmd := e.command()
		if c.flag != "" {
			if err := cmd.Flags().Set("restart-delay", c.flag); err != nil {
				t.Fatal(err)
			}
		}
		o, err := e.options([]string{"true"}, c.cfg, slog.New(slog.DiscardHandler))
		if err != nil || o.Delay != c.want {
			t.Errorf("%+v with %q: %v, %v", c.cfg, c.flag, o.Delay, err)
		}
	}
}
