package kube_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
)

// A real kubectl sends what the other transport sends, and its errors are recognized. It takes
// seconds for each request, so the test runs only if TOKENAGENT_TEST_KUBECTL is its path.
func TestRealKubectl(t *testing.T) {
	program := os.Getenv("TOKENAGENT_TEST_KUBECTL")
	if program == "" {
		t.Skip("TOKENAGENT_TEST_KUBECTL is not set")
	}
	api := &kubetest.Server{}
	path := "/api/v1/namespaces/app/secrets/token"
	api.Put(path, secretOf(nil))
	server := httptest.NewServer(api)
	defer server.Close()
	config := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: none\ncontexts: [{name: test, context: {cluster: test}}]\nclusters: [{name: test, cluster: {server: '" + server.URL + "'}}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Kubectl(t.Context(), kube.KubectlOptions{Path: program, Kubeconfig: config, Context: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Secret(t.Context(), "app", "token")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Replace(t.Context(), s, true); err != nil {
		t.Error(err)
	}
	if _, err := c.Replace(t.Context(), s, false); err != nil {
		t.Error(err)
	}
	if _, err := c.Replace(t.Context(), s, false); !kube.Is(err, kube.Conflict) {
		t.Errorf("%v", err)
	}
	if _, err := c.Secret(t.Context(), "app", "other"); !kube.Is(err, kube.NotFound) {
		t.Errorf("%v", err)
	}
	if err := c.Report(t.Context(), s, kube.Event{Name: "e"}); err != nil {
		t.Error(err)
	}
	if err := c.Report(t.Context(), s, kube.Event{Name: "e"}); err != nil {
		t.Error(err)
	}
	server.Close()
	if _, err := c.Secret(t.Context(), "app", "token"); !kube.Is(err, kube.Unreachable) {
		t.Errorf("%v", err)
	}
}
