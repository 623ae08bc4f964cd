package listener

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Files are the PEM files of a listener's certificates. The zero value means no TLS.
type Files struct {
	Cert     string // the server's own certificate, then the intermediate ones
	Key      string // its private key; may be the same file
	ClientCA string // the CA certificates that client certificates must be signed by; "" asks for none
}

// Given reports whether there is TLS.
func (f Files) Given() bool { return f != Files{} }

// Validate reports which file is missing. prefix is that of the flags, such as
// "admin-".
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

// pair returns the source of the certificate and its key, and the function that
// parses both. In one directory they are read as one version of it. Otherwise they
// are read one after the other, and refused as long as they do not match.
func (f Files) pair() (reload.Source, func(reload.Content) (*tls.Certificate, error)) {
	dir, certName := filepath.Split(f.Cert)
	keyDir, keyName := filepath.Split(f.Key)
	source := reload.Dir(filepath.Clean(dir), certName, keyName)
	if filepath.Clean(dir) != filepath.Clean(keyDir) {
		certName, keyName = f.Cert, f.Key
		source = reload.Files(certName, keyName)
	}
	return source, func(c reload.Content) (*tls.Certificate, error) {
		cert, ok := c.Keys[certName]
		if !ok {
			return nil, notThere(f.Cert)
		}
		key, ok := c.Keys[keyName]
		if !ok {
			return nil, notThere(f.Key)
		}
		return f.parsePair(cert, key)
	}
}

func notThere(path string) error {
	return fmt.Errorf("%s does not exist; a listener needs a certificate and its key, put it there", path)
}

// parsePair words its errors itself, because those of crypto/tls quote the types of
// PEM blocks, which are content of the file.
func (f Files) parsePair(cert, key []byte) (*tls.Certificate, error) {
	if _, err := parseCertificates(f.Cert, cert); err != nil {
		return nil, err
	}
	if err := checkKey(f.Key, key); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return &pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("%s is not the key of %s; put a certificate and its own key there, the certificate of the server first in its file", f.Key, f.Cert)
	default:
		return nil, fmt.Errorf("%s holds a private key that cannot be read; it must be PEM of PKCS #8, PKCS #1 or SEC 1", f.Key)
	}
}

func pemBlocks(text []byte) iter.Seq[*pem.Block] {
	return func(yield func(*pem.Block) bool) {
		for {
			var b *pem.Block
			if b, text = pem.Decode(text); b == nil || !yield(b) {
				return
			}
		}
	}
}

func parseCertificates(path string, text []byte) (all []*x509.Certificate, err error) {
	for b := range pemBlocks(text) {
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
	for b := range pemBlocks(text) {
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["Proc-Type"] != "" {
			return fmt.Errorf("%s holds a key with a passphrase; put one without a passphrase there", path)
		}
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return nil
		}
	}
	return fmt.Errorf("%s holds no private key; it must be PEM, with BEGIN PRIVATE KEY", path)
}

// parsePool parses the CA certificates of clients.
func (f Files) parsePool(_ *x509.CertPool, c reload.Content, _ time.Time) (*x509.CertPool, error) {
	for b := range pemBlocks(c.Data) {
		if b.Type != "CERTIFICATE" { // such as a private key, in a file that many may read
			return nil, fmt.Errorf("%s holds something other than certificates; put only the CA certificates of clients there", f.ClientCA)
		}
	}
	all, err := parseCertificates(f.ClientCA, c.Data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, ca := range all {
		pool.AddCert(ca)
	}
	return pool, nil
}
