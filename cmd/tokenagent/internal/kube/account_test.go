package kube_test

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/internal/podaccount"
)

// TestInClusterAsksAsTheServiceAccountOfThePod covers the address, the CA and the token. How
// the files are read again is tested with their package.
func TestInClusterAsksAsTheServiceAccountOfThePod(t *testing.T) {
	defer func(dir string) { podaccount.Dir = dir }(podaccount.Dir)
	podaccount.Dir = t.TempDir()
	if kube.IsInCluster() {
		t.Error("a directory without a token is a service account")
	}
	if _, err := kube.InCluster(); err == nil {
		t.Error("a Client without a service account")
	}
	var sent string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		sent = req.Header.Get("Authorization")
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string]string{"token": canary + "\n", "ca.crt": string(ca)} {
		if err := os.WriteFile(filepath.Join(podaccount.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !kube.IsInCluster() {
		t.Error("a pod with a service account is not in a cluster")
	}
	c, err := kube.InCluster()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secret(t.Context(), "app", "token"); err != nil {
		t.Fatal(err)
	}
	if sent != "Bearer "+canary {
		t.Error("the request does not carry the pod's token")
	}
	server.Close()
	if _, err := c.Secret(t.Context(), "app", "token"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("without a server: %v", err)
	}
}
