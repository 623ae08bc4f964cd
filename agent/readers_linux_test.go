package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

// TestWarnsOfReadableSecrets reads sources of each kind with several file modes.
func TestWarnsOfReadableSecrets(t *testing.T) {
	const token = "gW3m0rSxQ4aNf1lUeZ8tYc7P"
	jwt := agent.JWT{Issuer: "i", Audiences: []string{"a"}}
	// RFC 8037 appendix A.2.
	const public = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	for name, c := range map[string]struct {
		files map[string]os.FileMode
		text  string
		cfg   func(dir string) agent.Config
		want  []string
	}{
		"private":   {map[string]os.FileMode{"f": 0o600}, token, func(d string) agent.Config { return agent.Config{TokenFile: d + "/f"} }, nil},
		"a group's": {map[string]os.FileMode{"f": 0o640}, token, func(d string) agent.Config { return agent.Config{TokenFile: d + "/f"} }, nil},
		"all":       {map[string]os.FileMode{"f": 0o644}, token, func(d string) agent.Config { return agent.Config{TokenFile: d + "/f"} }, []string{"f"}},
		"env file":  {map[string]os.FileMode{"f": 0o604}, "APP_API_TOKEN=" + token, func(d string) agent.Config { return agent.Config{EnvFile: d + "/f"} }, []string{"f"}},
		"directory": {map[string]os.FileMode{"token": 0o644, "token-next": 0o600, "other": 0o644}, token, func(d string) agent.Config { return agent.Config{TokenFile: d} }, []string{"token"}},
		"HMAC secret": {map[string]os.FileMode{"f": 0o644}, token + token, func(d string) agent.Config {
			return agent.Config{Issuers: []agent.Issuer{{KeyFile: d + "/f", JWT: jwt}}}
		}, []string{"f"}},
		"public key": {map[string]os.FileMode{"f": 0o644}, public, func(d string) agent.Config {
			return agent.Config{Issuers: []agent.Issuer{{KeyFile: d + "/f", JWT: jwt}}}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, mode := range c.files {
				path := filepath.Join(dir, file)
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			var log testlog.Log
			cfg := c.cfg(dir)
			cfg.Logger = log.Logger()
			a := start(t, cfg)
			eventually(t, a, "the source is loaded", func() bool { return strings.Contains(log.String(), "source loaded") })
			text := log.String()
			if n := strings.Count(text, "every user of this machine can read"); n != len(c.want) {
				t.Errorf("%d warnings, want %d\n%s", n, len(c.want), text)
			}
			for _, file := range c.want {
				if !strings.Contains(text, "file="+filepath.Join(dir, file)+" ") {
					t.Errorf("no warning names %s:\n%s", file, text)
				}
			}
		})
	}
}

// TestNoWarningOfAMountedSecret: the kubelet mounts Secrets with mode 0644 by default, on
// a file system that only the pod can reach. The test needs the privilege to mount.
func TestNoWarningOfAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		t.Skip("no mount here:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	if err := kubemount.Write(dir, map[string][]byte{"token": []byte(tokenN(1))}, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "token")} {
		var log testlog.Log
		a := start(t, agent.Config{TokenFile: path, Logger: log.Logger()})
		eventually(t, a, "the source is loaded", func() bool { return strings.Contains(log.String(), "source loaded") })
		if strings.Contains(log.String(), "can read") {
			t.Errorf("%s", log.String())
		}
		_ = a.Close()
	}
}
