package jwks

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// sideFiles holds the files with the CAs of the server and with the bearer token. If the
// content of a file becomes invalid, the last valid content stays in use.
type sideFiles struct {
	ca     *reload.Value[x509.CertPool] // nil without a CAFile
	bearer *reload.Value[string]        // nil without a BearerFile
	all    []sideFile                   // those of ca and bearer that are not nil
}

type sideFile interface {
	Reload() (changed bool, err error)
	Stats() reload.Stats
}

// openSideFiles reads the files for the first time. If a file is invalid, the first Read
// returns the error, and openSideFiles does not.
func openSideFiles(o RemoteOptions) (f sideFiles, err error) {
	options := reload.Options{Wait: true, Logger: o.Logger}
	if o.CAFile != "" {
		options.Name = "jwks CA"
		if f.ca, err = reload.Open(reload.File(o.CAFile), parseCA, options); err != nil {
			return f, err
		}
		f.all = append(f.all, f.ca)
	}
	if o.BearerFile != "" {
		options.Name = "jwks bearer token"
		if f.bearer, err = reload.Open(reload.File(o.BearerFile), parseBearer, options); err != nil {
			return f, err
		}
		f.all = append(f.all, f.bearer)
	}
	return f, nil
}

// reload reads the files again and reports whether one changed. lastError returns their
// errors.
func (f *sideFiles) reload() (changed bool) {
	for _, file := range f.all {
		c, _ := file.Reload()
		changed = changed || c
	}
	return changed
}

// missing returns the errors of the files if one of them has never been valid. No request
// can be made then.
func (f *sideFiles) missing() error {
	if slices.ContainsFunc(f.all, func(file sideFile) bool { return file.Stats().LastSuccess.IsZero() }) {
		return f.lastError()
	}
	return nil
}

// lastError returns the current errors of the files, or nil.
func (f *sideFiles) lastError() error {
	var errs []error
	for _, file := range f.all {
		errs = append(errs, file.Stats().LastError)
	}
	return errors.Join(errs...)
}

// parseCA parses PEM certificates. It rejects a file that is truncated or has a broken
// block, because encoding/pem skips what it cannot parse, and a CA would silently be
// lost.
func parseCA(_ *x509.CertPool, c reload.Content, _ time.Time) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := c.Data; ; n++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: PEM block %d is not a certificate; keep only the certificates of CAs", c.Path, n+1)
		}
		root, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d cannot be parsed; it must be X.509 in PEM", c.Path, n+1)
		}
		pool.AddCert(root)
	}
	switch {
	case n != bytes.Count(c.Data, []byte(pemBegin)):
		return nil, fmt.Errorf("%s: a PEM block is broken or cut off; copy the file whole", c.Path)
	case n == 0:
		return nil, fmt.Errorf("%s: no certificate; it must be PEM, with BEGIN CERTIFICATE", c.Path)
	}
	return pool, nil
}

// maxBearer is the maximum length of a bearer token in bytes, so that the token fits into
// a header.
const maxBearer = 16 << 10

// parseBearer parses a bearer token (RFC 6750 section 2.1).
func parseBearer(_ *string, c reload.Content, _ time.Time) (*string, error) {
	token := string(bytes.Trim(bytes.TrimPrefix(c.Data, []byte(bom)), white))
	switch {
	case strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e }):
		return nil, fmt.Errorf("%s: not one word of printable ASCII, as a bearer token is (RFC 6750 section 2.1); put only the token there", c.Path)
	case len(token) > maxBearer:
		return nil, fmt.Errorf("%s: over %d bytes; put only the token there", c.Path, maxBearer)
	}
	return &token, nil
}

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
