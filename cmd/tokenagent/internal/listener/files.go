package listener

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Files are where a listener's certificates stand, in PEM. The zero value means no
// TLS.
type Files struct {
	Cert     string // the server's own first, then those between it and the root
	Key      string // its private key; may be the same file
	ClientCA string // of the roots of client certificates; "" asks for none
}

// Given reports whether there is TLS.
func (f Files) Given() bool { return f != Files{} }

// Validate reports what is missing beside what is given. prefix is that of the
// flags, such as "admin-".
func (f Files) Validate(prefix string) error {
	switch {
	case f.Cert == "" && f.Key == "" && f.ClientCA != "":
		return fmt.Errorf("--%stls-client-ca-file goes with --%[1]stls-cert-file and --%[1]stls-key-file", prefix)
	case f.Cert != "" && f.Key == "":
		return fmt.Errorf("--%stls-cert-file goes with --%[1]stls-key-file", prefix)
	case f.Cert == "" && f.Key != "":
		return fmt.Errorf("--%stls-key-file goes with --%[1]stls-cert-file", prefix)
	}
	return nil
}

// A pair is a certificate and its key, as they were read together.
type pair struct {
	cert             tls.Certificate
	notBefore, until time.Time // of the first of cert
}

// pairSource returns the source of a certificate and its key, and what makes a pair
// of it. In one directory they are read as one version of it; elsewhere one after
// the other, and what does not fit is refused until it does.
func (f Files) pairSource() (reload.Source, reload.Step[pair]) {
	dir, cert := filepath.Split(f.Cert)
	other, key := filepath.Split(f.Key)
	if filepath.Clean(dir) != filepath.Clean(other) {
		cert, key = f.Cert, f.Key
	}
	step := func(_ *pair, c reload.Content, _ time.Time) (*pair, error) {
		for _, one := range []struct{ key, path string }{{cert, f.Cert}, {key, f.Key}} {
			if _, ok := c.Keys[one.key]; !ok {
				return nil, fmt.Errorf("%s is not there; a listener takes a certificate and its key, put it there", one.path)
			}
		}
		return f.parse(c.Keys[cert], c.Keys[key])
	}
	switch {
	case filepath.Clean(dir) != filepath.Clean(other):
		return reload.Files(f.Cert, f.Key), step
	case cert == key:
		return reload.Dir(filepath.Clean(dir), cert), step
	default:
		return reload.Dir(filepath.Clean(dir), cert, key), step
	}
}

// parse makes a pair of what was read. Its errors are its own: those of crypto/tls
// quote the types of PEM blocks, and with that what a file holds.
func (f Files) parse(cert, key []byte) (*pair, error) {
	chain, err := certificates(f.Cert, cert)
	if err != nil {
		return nil, err
	}
	if err := checkKey(f.Key, key); err != nil {
		return nil, err
	}
	made, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("%s is not the key of %s; put both of one pair there, the certificate of the server first in its file", f.Key, f.Cert)
	default:
		return nil, fmt.Errorf("%s holds a private key that cannot be read; it must be PEM of PKCS #8, PKCS #1 or SEC 1", f.Key)
	}
	return &pair{cert: made, notBefore: chain[0].NotBefore, until: chain[0].NotAfter}, nil
}

func certificates(path string, text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %s cannot be read; it must be X.509 in PEM", len(all)+1, path)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate; it must be PEM, with BEGIN CERTIFICATE", path)
	}
	return all, nil
}

func checkKey(path string, text []byte) error {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return fmt.Errorf("%s holds no private key; it must be PEM, with BEGIN PRIVATE KEY", path)
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["Proc-Type"] != "" {
			return fmt.Errorf("%s holds a key with a passphrase; put one without there", path)
		}
		if b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY") {
			return nil
		}
	}
}

// parsePool makes the roots of client certificates of what was read.
func (f Files) parsePool(_ *x509.CertPool, c reload.Content, _ time.Time) (*x509.CertPool, error) {
	// A key here is a mix-up, and one that many should not read.
	for rest := c.Data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds something else than certificates; put the roots of clients there, and nothing more", f.ClientCA)
		}
	}
	all, err := certificates(f.ClientCA, c.Data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, root := range all {
		pool.AddCert(root)
	}
	return pool, nil
}
