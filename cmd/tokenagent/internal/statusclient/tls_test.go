package statusclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
)

// selfSigned writes a self-signed certificate and its key as PEM, and returns their paths.
func selfSigned(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// flags parses args as the flags of TLS.
func flags(t *testing.T, args ...string) *statusclient.TLS {
	t.Helper()
	var f statusclient.TLS
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Add(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f
}

// TestTLS asks a port that demands a client certificate of its own CA.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := selfSigned(t, dir, "server")
	clientCert, clientKey := selfSigned(t, dir, "client")
	otherCert, otherKey := selfSigned(t, dir, "other")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(text)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"schema":1,"ready":true}`)) }))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, c := range []struct {
		args []string
		says string // "" for a status
	}{
		{[]string{"--agent-ca-file", serverCert, "--agent-cert-file", clientCert, "--agent-key-file", clientKey}, ""},
		{[]string{"--agent-ca-file", otherCert, "--agent-cert-file", clientCert, "--agent-key-file", clientKey}, "untrusted CA; give the CA's certificate in --agent-ca-file"},
		{[]string{"--agent-cert-file", clientCert, "--agent-key-file", clientKey}, "untrusted CA; give the CA's certificate in --agent-ca-file"},
		{[]string{"--agent-ca-file", serverCert, "--agent-cert-file", otherCert, "--agent-key-file", otherKey}, "no answer from the agent"},
		{[]string{"--agent-ca-file", serverCert}, "no answer from the agent"},
		{nil, "untrusted CA"},
	} {
		client, err := flags(t, c.args...).Client()
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.Ask(t.Context(), s.URL)
		switch {
		case c.says != "":
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q: %v, want %q", c.args, err, c.says)
			}
		case err != nil:
			t.Errorf("%q: %v", c.args, err)
		case !a.Status.Ready:
			t.Errorf("%q: not ready", c.args)
		}
	}
}

// TestTLSErrors: the errors name the flag and the fix, and quote no content of a file.
func TestTLSErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := selfSigned(t, dir, "a")
	_, otherKey := selfSigned(t, dir, "b")
	junk, none := filepath.Join(dir, "junk"), filepath.Join(dir, "none")
	if err := os.WriteFile(junk, []byte("-----BEGIN CANARY-of-a-key-----\nAAAA\n-----END CANARY-of-a-key-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--agent-cert-file", cert}, 2, "--agent-cert-file and --agent-key-file go together"},
		{[]string{"--agent-key-file", key}, 2, "go together"},
		{[]string{"--agent-ca-file", none}, 1, "--agent-ca-file: open " + none},
		{[]string{"--agent-ca-file", junk}, 1, "it holds no certificate"},
		{[]string{"--agent-ca-file", key}, 1, "it holds no certificate"},
		{[]string{"--agent-cert-file", none, "--agent-key-file", key}, 1, "--agent-cert-file and --agent-key-file: open " + none},
		{[]string{"--agent-cert-file", cert, "--agent-key-file", otherKey}, 1, "do not belong together"},
		{[]string{"--agent-cert-file", cert, "--agent-key-file", junk}, 1, "do not belong together"},
		{[]string{"--agent-cert-file", junk, "--agent-key-file", key}, 1, "do not belong together"},
	} {
		_, err := flags(t, c.args...).Client()
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
			t.Fatalf("%q: %v, want %q", c.args, err, c.says)
		}
		if code := exitcode.Of(err); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
	}
}
