package jwks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// systemRoots returns the roots that the system trusts, and respects SSL_CERT_FILE and
// SSL_CERT_DIR. crypto/x509 reads the roots only once per process, so it would never
// trust a renewed CA in a mounted file. If there are no roots, or the system is not
// Linux, systemRoots returns nil, and the roots of crypto/x509 apply.
func systemRoots(ctx context.Context) *x509.CertPool {
	if runtime.GOOS != "linux" {
		return nil
	}
	return processRoots.current(ctx)
}

// processRoots are the roots that all sources of the process share. A thousand issuers
// would else read hundreds of files each, and keep a pool of hundreds of kilobytes each.
var processRoots rootCache //nolint:gochecknoglobals // the roots belong to the process

// rootInterval is the least time between two reads of the roots.
const rootInterval = time.Second

type rootCache struct {
	mu   sync.Mutex
	read time.Time
	sum  [sha256.Size]byte // of the content of pool
	pool *x509.CertPool    // nil if there are no roots
}

// current returns the roots, which it reads again if the last read was a while ago.
func (c *rootCache) current(ctx context.Context) *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if elapsed(c.read) < rootInterval {
		return c.pool
	}
	texts := readRoots(ctx)
	if ctx.Err() != nil { // perhaps not everything was read
		return c.pool
	}
	c.read = time.Now()
	sum := sha256.Sum256(bytes.Join(texts, []byte("\n")))
	if sum == c.sum {
		return c.pool
	}
	pool, found := x509.NewCertPool(), false
	for _, text := range texts {
		found = pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		pool = nil
	}
	c.sum, c.pool = sum, pool
	return pool
}

// readRoots returns the content of the files with roots.
func readRoots(ctx context.Context) (texts [][]byte) {
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
	add := func(path string) (readable bool) {
		c, err := reload.File(path).Read(ctx, maxBytes)
		texts = append(texts, c.Data)
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
	return texts
}
