package jwks

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// systemRoots reads the roots that the system trusts, and respects SSL_CERT_FILE and
// SSL_CERT_DIR. crypto/x509 reads the roots only once per process, so it would never
// trust a renewed CA in a mounted file. If there are no roots, or the system is not
// Linux, systemRoots returns nil, and the roots of crypto/x509 apply.
func systemRoots(ctx context.Context) *x509.CertPool {
	if runtime.GOOS != "linux" {
		return nil
	}
	// The places where Linux distributions keep their trusted roots, as in crypto/x509.
	files := []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	dirs := []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		files = []string{file}
	}
	if list := os.Getenv("SSL_CERT_DIR"); list != "" {
		dirs = strings.Split(list, ":")
	}
	pool, found := x509.NewCertPool(), false
	add := func(path string) (readable bool) {
		c, err := reload.File(path).Read(ctx, maxBytes)
		found = err == nil && pool.AppendCertsFromPEM(c.Data) || found
		return err == nil
	}
	for _, file := range files {
		if add(file) {
			break
		}
	}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			// A link within the directory leads to a certificate that is read anyway.
			if target, err := os.Readlink(path); err != nil || strings.Contains(target, "/") {
				add(path)
			}
		}
	}
	if !found {
		return nil
	}
	return pool
}
