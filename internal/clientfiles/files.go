// Package clientfiles keeps the files that a client needs for requests to a server in step
// with the disk: the CA certificates that it trusts, and the bearer token that it sends.
package clientfiles

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Options name the files.
type Options struct {
	// CAFile is the path of the CA certificates, in PEM. "" means none.
	CAFile string
	// BearerFile is the path of the bearer token. "" means none.
	BearerFile string
	// Name is the name of the server in logs.
	Name string
	// Logger receives the errors of the files, once per error. nil discards them.
	Logger *slog.Logger
}

// Files holds the content of the files. If the content of a file becomes invalid, the last
// valid content stays in use. All methods are safe for concurrent use. The zero Files has no
// files.
type Files struct {
	ca     *reload.Value[x509.CertPool] // nil without a CAFile
	bearer *reload.Value[string]        // nil without a BearerFile
	all    []file                       // those of ca and bearer that are not nil
}

type file interface {
	Reload() (changed bool, err error)
	Stats() reload.Stats
}

// Open reads the files for the first time. If a file is invalid, Open returns no error, but
// Missing does.
func Open(o Options) (*Files, error) {
	f := new(Files)
	options := reload.Options{Wait: true, Logger: o.Logger}
	var err error
	if o.CAFile != "" {
		options.Name = o.Name + " CA"
		if f.ca, err = reload.Open(reload.File(o.CAFile), parseCA, options); err != nil {
			return nil, err
		}
		f.all = append(f.all, f.ca)
	}
	if o.BearerFile != "" {
		options.Name = o.Name + " bearer token"
		if f.bearer, err = reload.Open(reload.File(o.BearerFile), parseBearer, options); err != nil {
			return nil, err
		}
		f.all = append(f.all, f.bearer)
	}
	return f, nil
}

// Reload reads the files again and reports whether one changed. LastError returns their
// errors. Reload takes several milliseconds, because it reads each file twice.
func (f *Files) Reload() (changed bool) {
	for _, file := range f.all {
		c, _ := file.Reload()
		changed = changed || c
	}
	return changed
}

// Missing returns the errors of the files if one of them has never been valid. No request
// can be made then.
func (f *Files) Missing() error {
	if slices.ContainsFunc(f.all, func(file file) bool { return file.Stats().LastSuccess.IsZero() }) {
		return f.LastError()
	}
	return nil
}

// LastError returns the current errors of the files, or nil.
func (f *Files) LastError() error {
	var errs []error
	for _, file := range f.all {
		errs = append(errs, file.Stats().LastError)
	}
	return errors.Join(errs...)
}

// CA returns the CA certificates that are trusted now. It returns false if there is no
// CAFile. The caller must have checked Missing.
func (f *Files) CA() (pool *x509.CertPool, ok bool) {
	if f.ca == nil {
		return nil, false
	}
	return f.ca.Load(), true
}

// Bearer returns the bearer token. It returns false if there is no BearerFile. The caller
// must have checked Missing.
func (f *Files) Bearer() (token string, ok bool) {
	if f.bearer == nil {
		return "", false
	}
	return *f.bearer.Load(), true
}

const pemBegin = "-----BEGIN "

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

const (
	// maxBearer is the maximum length of a bearer token in bytes, so that the token fits
	// into a header.
	maxBearer = 16 << 10
	bom       = "\xef\xbb\xbf"
	white     = " \t\r\n\v\f"
)

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
