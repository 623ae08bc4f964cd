package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// selfSigned writes a certificate of name that is its own root, for servers and
// clients, and returns its files.
func selfSigned(t *testing.T, dir, name string) (listener.Files, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"agent.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := listener.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, f.Cert, string(text))
	write(t, f.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return f, pool
}

// knock requests url over TLS once. It returns the answer, and the name in the server's
// certificate.
func knock(t *testing.T, url string, o *tls.Config, headers ...string) (code int, body, proto, name string, err error) {
	t.Helper()
	o.ServerName = "agent.test"
	tr := &http.Transport{TLSClientConfig: o, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(url, "http://", "https://", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return 0, "", "", "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), res.Proto, res.TLS.PeerCertificates[0].Subject.CommonName, err
}

func TestTLSOnAllListeners(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	mainFiles, mainPool := selfSigned(t, t.TempDir(), "main")
	adminFiles, adminPool := selfSigned(t, t.TempDir(), "admin")
	adminFiles.ClientCA = mainFiles.Cert // whoever has main's own certificate may ask
	hup := make(chan os.Signal, 1)
	grpcAddr := freeAddr(t)
	d := runDaemon(t, a, Options{GRPCListen: grpcAddr, TLS: mainFiles, AdminTLS: adminFiles, Poll: -1, Debounce: time.Hour, Hangup: hup})

	code, _, proto, _, err := knock(t, d.main, &tls.Config{RootCAs: mainPool}, "dapr-api-token: "+good)
	if err != nil || code != http.StatusOK || proto != "HTTP/2.0" {
		t.Errorf("the main listener: %d %s %v", code, proto, err)
	}
	if code, _, _, _, err := knock(t, d.main, &tls.Config{RootCAs: mainPool}, "dapr-api-token: "+bad); err != nil || code != http.StatusUnauthorized {
		t.Errorf("a bad token: %d %v", code, err)
	}
	if r, err := http.Get(d.main); err == nil { // plain HTTP at a port with TLS
		_ = r.Body.Close()
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", r.StatusCode)
		}
	}

	conn, err := grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: mainPool, ServerName: "agent.test"})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("grpc: %v, %v", h, err)
	}
	// crypto/tls lets such a client through, with no protocol; grpc then hangs up
	// instead of beginning HTTP/2.
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: mainPool, ServerName: "agent.test", NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", grpcAddr)
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("grpc speaks to a client that has not asked for h2")
		}
		_ = c.Close()
	}

	pair, err := tls.LoadX509KeyPair(mainFiles.Cert, mainFiles.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := knock(t, d.admin+"/status", &tls.Config{RootCAs: adminPool}); err == nil {
		t.Error("the admin port answers without a client certificate")
	}
	admin := func(path string) string {
		_, body, _, _, err := knock(t, d.admin+path, &tls.Config{RootCAs: adminPool, Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for path, says := range map[string][]string{
		"/readyz":  {"ok"},
		"/status":  {`"listener": "admin-listen"`, `"client_certs": true`, `"not_after"`},
		"/metrics": {`tokenagent_tls_last_reload_successful{listener="listen"} 1`, `tokenagent_tls_certificate_expires_timestamp_seconds{listener="admin-listen"}`},
	} {
		for _, s := range says {
			if body := admin(path); !strings.Contains(body, s) {
				t.Errorf("%s lacks %s:\n%s", path, s, body)
			}
		}
	}

	// The debounce for a file written in place is an hour here. The signal says that the
	// file is complete.
	renewed, mainPool := selfSigned(t, t.TempDir(), "renewed")
	for from, to := range map[string]string{renewed.Cert: mainFiles.Cert, renewed.Key: mainFiles.Key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hup <- syscall.SIGHUP
	until(t, "the new certificate", func() bool {
		_, _, _, name, err := knock(t, d.main, &tls.Config{RootCAs: mainPool})
		return err == nil && name == "renewed"
	})
	if strings.Contains(d.log.String(), "PRIVATE KEY") {
		t.Error("a key is logged")
	}
}

// TestTLSErrorAtStart: with a certificate and a key that do not match, the daemon does not
// start, and the error names the file.
func TestTLSErrorAtStart(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	f, _ := selfSigned(t, t.TempDir(), "one")
	other, _ := selfSigned(t, t.TempDir(), "other")
	f.Key = other.Key
	o := Options{Listen: "127.0.0.1:0", AdminTLS: f, Logger: slog.New(slog.DiscardHandler)}
	if err := Run(t.Context(), single(a, o), o); err == nil || !strings.Contains(err.Error(), "--admin-tls-") || !strings.Contains(err.Error(), f.Key) {
		t.Error(err)
	}
}
