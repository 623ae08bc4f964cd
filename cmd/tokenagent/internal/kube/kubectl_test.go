package kube_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
)

// fake returns a Client whose kubectl is the shell script. It writes its arguments and its
// standard input into files of dir.
func fake(t *testing.T, script string) (c *kube.Client, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "kubectl")
	text := "#!/bin/sh\necho \"$*\" >>'" + dir + "/args'\ncat >'" + dir + "/stdin'\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Kubectl(t.Context(), kube.KubectlOptions{Path: path, Kubeconfig: "/k/config", Context: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

// The user may choose another context while a Client is in use.
func TestKubectlKeepsItsContext(t *testing.T) {
	const ask = "--kubeconfig=/k/config config current-context\n"
	const get = "get --raw /api/v1/namespaces/app/secrets/token\n"
	for current, want := range map[string]string{
		"echo prod": ask + "--kubeconfig=/k/config --context=prod " + get,
		"echo 'error: current-context is not set' >&2; exit 1": ask + "--kubeconfig=/k/config " + get,
		"echo 'error: no such file' >&2; exit 1":               ask,
	} {
		_, dir := fake(t, "case \"$*\" in *current-context) "+current+";; *) echo '{}';; esac")
		c, err := kube.Kubectl(t.Context(), kube.KubectlOptions{Path: filepath.Join(dir, "kubectl"), Kubeconfig: "/k/config"})
		switch {
		case want == ask && (err == nil || !strings.Contains(err.Error(), "error: no such file; name the context with --context")):
			t.Errorf("%s: %v", current, err)
		case want != ask && err != nil:
			t.Fatal(err)
		case err == nil:
			if _, err := c.Secret(t.Context(), "app", "token"); err != nil {
				t.Error(err)
			}
		}
		if got := content(t, filepath.Join(dir, "args")); got != want {
			t.Errorf("%s: %s", current, got)
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKubectlIsRunWithTheUsersLogin(t *testing.T) {
	c, dir := fake(t, `echo '{"metadata":{"name":"token"}}'`)
	s, err := c.Secret(t.Context(), "app", "token")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Replace(t.Context(), s, true); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(dir, "stdin")); got != string(s.JSON) {
		t.Errorf("standard input is %q", got)
	}
	if err := c.Report(t.Context(), s, kube.Event{Name: "e"}); err != nil {
		t.Fatal(err)
	}
	const want = `--kubeconfig=/k/config --context=prod get --raw /api/v1/namespaces/app/secrets/token
--kubeconfig=/k/config --context=prod replace --raw /api/v1/namespaces/app/secrets/token?dryRun=All -f -
--kubeconfig=/k/config --context=prod create --raw /api/v1/namespaces/app/events -f -
`
	if got := content(t, filepath.Join(dir, "args")); got != want {
		t.Errorf("%s", got)
	}
}

// The texts are what kubectl 1.32 writes.
func TestErrorsOfKubectl(t *testing.T) {
	for said, want := range map[string]struct {
		reason    kube.Reason
		temporary bool
	}{
		`Error from server (NotFound): secrets "token" not found`:                                          {kube.NotFound, false},
		`Error from server (Conflict): Operation cannot be fulfilled on secrets "token": the object`:       {kube.Conflict, true},
		`Error from server (Forbidden): secrets "token" is forbidden: User "x" cannot get resource`:        {kube.Forbidden, false},
		`Error from server (InternalError): an error on the server`:                                        {"InternalError", true},
		`Error from server: etcdserver: request timed out`:                                                 {"InternalError", true},
		`The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?`:   {kube.Unreachable, true},
		`error: You must be logged in to the server (Unauthorized)`:                                        {kube.Unauthorized, false},
		`Unable to connect to the server: getting credentials: exec: executable aws failed with exit code`: {kube.Unreachable, true},
	} {
		c, _ := fake(t, "echo '"+said+"' >&2; exit 1")
		_, err := c.Secret(t.Context(), "app", "token")
		e, is := errors.AsType[*kube.Error](err)
		if !is || e.Reason != want.reason || e.Temporary() != want.temporary || !strings.HasPrefix(err.Error(), "secret app/token: get: ") {
			t.Errorf("%s: %v", said, err)
		}
	}
}
