package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	sentryv1 "github.com/dapr/dapr/pkg/proto/sentry/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// sentryBinary returns the path of a built Sentry: SENTRY, or else the cached one. Building
// Sentry takes ten minutes, so the test is skipped if there is none.
func sentryBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("SENTRY"); path != "" {
		return path
	}
	version, err := daprVersion()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "tokenagent-e2e", "sentry-"+version, "sentry")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("there is no %s; build it once with test/e2e/daprd/build.sh %s sentry, which takes ten minutes, or give a built one as SENTRY=PATH", path, version)
	}
	return path
}

// A sentry is a running Sentry in standalone mode, which issues JWTs.
type sentry struct {
	dir  string // its credentials, with jwks.json
	grpc string
	jwks string // the URL of its JWKS
}

func startSentry(t *testing.T, args ...string) *sentry {
	t.Helper()
	port, oidc := freePort(t), freePort(t)
	s := &sentry{dir: t.TempDir(), grpc: loopback(port), jwks: "http://" + loopback(oidc) + "/jwks.json"}
	config := filepath.Join(s.dir, "config.yaml")
	if err := os.WriteFile(config, []byte("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: test}\nspec: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "sentry", sentryBinary(t), append([]string{
		"--mode", "standalone", "--config", config, "--issuer-credentials", s.dir, "--trust-domain", "control.example",
		"--listen-address", "127.0.0.1", "--port", strconv.Itoa(port), "--healthz-listen-address", "127.0.0.1", "--healthz-port", strconv.Itoa(freePort(t)), "--enable-metrics=false",
		"--jwt-enabled", "--oidc-enabled", "--oidc-server-tls-enabled=false", "--oidc-server-listen-address", "127.0.0.1", "--oidc-server-listen-port", strconv.Itoa(oidc),
	}, args...), nil)
	waitFor(t, 30*time.Second, "Sentry serves its JWKS", func() bool {
		if !p.Running() {
			t.Fatalf("Sentry ended with exit code %d", p.ExitCode())
		}
		res, err := http.Get(s.jwks)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// jwt returns the JWT that Sentry issues for a workload, as daprd asks for it. trustDomain
// "" is what daprd sends if no Configuration names one.
func (s *sentry) jwt(t *testing.T, trustDomain, namespace, appID string, audiences ...string) string {
	t.Helper()
	roots, err := os.ReadFile(filepath.Join(s.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	// The certificate of Sentry has a SPIFFE ID and no host name.
	creds := credentials.NewTLS(&tls.Config{
		InsecureSkipVerify: true, // VerifyConnection verifies the certificate
		VerifyConnection: func(c tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, cert := range c.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	})
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sentryv1.NewCAClient(conn).SignCertificate(t.Context(), &sentryv1.SignCertificateRequest{
		Id: appID, Namespace: namespace, TrustDomain: trustDomain, JwtAudiences: audiences,
		CertificateSigningRequest: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetJwt().GetValue()
}

// TestSentry: the program accepts the JWTs of the real Sentry with the settings of
// docs/jwt.md: with and without iss, and with the keys from Sentry's file, its folder and
// its server. It refuses those of another trust domain and for another audience, though
// Sentry signs all of them with one key.
func TestSentry(t *testing.T) {
	t.Parallel()
	sentryBinary(t)
	const id, issuer = "spiffe://prod.example/ns/default/billing", "https://sentry.example"
	for name, args := range map[string][]string{"without iss": nil, "with iss": {"--jwt-issuer", issuer}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, other := startSentry(t, args...), startSentry(t, args...)
			good := s.jwt(t, "prod.example", "default", "billing", "orders")
			for keys, source := range map[string][]string{
				"file": {"--key-file", filepath.Join(s.dir, "jwks.json")}, "folder": {"--key-file", s.dir}, "server": {"--jwks-url", s.jwks},
			} {
				t.Run(keys, func(t *testing.T) {
					p := startVerifier(t, append(source, "--trust-domain", "prod.example", "--audience", "orders")...)
					p.want(good, id)
					p.want(s.jwt(t, "", "default", "billing", "orders"), "")                 // of the trust domain public
					p.want(s.jwt(t, "test.example", "default", "billing", "orders"), "")     //
					p.want(s.jwt(t, "prod.example", "default", "billing"), "")               // for the audience prod.example
					p.want(other.jwt(t, "prod.example", "default", "billing", "orders"), "") // signed by another Sentry
				})
			}
			p := startVerifier(t, "--key-file", filepath.Join(s.dir, "jwks.json"), "--audience", "orders", "--trust-domain", "prod.example", "--issuer", issuer)
			if args == nil {
				p.want(good, "") // it has no iss
			} else {
				p.want(good, id)
			}
			p = startVerifier(t, "--key-file", filepath.Join(s.dir, "jwks.json"), "--audience", "public", "--trust-domain", "public")
			p.want(s.jwt(t, "", "default", "billing"), "spiffe://public/ns/default/billing")
		})
	}
}
