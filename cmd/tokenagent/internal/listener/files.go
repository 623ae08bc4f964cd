package listener

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Files are the PEM files of a listener's certificates. The zero value means no TLS.
type Files struct {
	Cert     string // the server's own certificate, then the intermediate ones
	Key      string // its private key; may be the same file
	ClientCA string // the CA certificates that must sign client certificates; "" means that clients need none
}

// Given reports whether f configures TLS.
func (f Files) Given() bool { return f != Files{} }

// Validate returns an error that names the flags if a file is missing. prefix is the
// prefix of the flags, such as "admin-".
func (f Files) Validate(prefix string) error {
	if f.Given() && (f.Cert == "" || f.Key == "") {
		return fmt.Errorf("--%stls-cert-file and --%[1]stls-key-file go together, and --%[1]stls-client-ca-file goes with both", prefix)
	}
	return nil
}

// source returns the source of all files, and the function that parses them. If all files
// are in one directory, each read returns one version of it. Otherwise the files are read
// one after the other, and the content is rejected while certificate and key do not match.
func (f Files) source() (reload.Source, func(reload.Content) (*tls.Config, error)) {
	paths := []string{f.Cert, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	keys, dir := paths, filepath.Dir(f.Cert)
	source := reload.Files(paths...)
	if !slices.ContainsFunc(paths, func(path string) bool { return filepath.Dir(path) != dir }) {
		keys = make([]string, len(paths))
		for i, path := range paths {
			keys[i] = filepath.Base(path)
		}
		source = reload.Dir(dir, keys...)
	}
	return source, func(c reload.Content) (*tls.Config, error) {
		contents := make([][]byte, 3)
		for i, key := range keys {
			content, ok := c.Keys[key]
			if !ok {
				return nil, fmt.Errorf("%s does not exist; put it there", paths[i])
			}
			contents[i] = content
		}
		return f.parse(contents[0], contents[1], contents[2])
	}
}

// parse returns the configuration of a server with the contents of the files. It ignores
// ca if f.ClientCA is "".
func (f Files) parse(cert, key, ca []byte) (*tls.Config, error) {
	pair, err := f.parsePair(cert, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if f.ClientCA != "" {
		if config.ClientCAs, err = f.parsePool(ca); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		// With a session ticket, a client could resume a session after the removal of its CA.
		config.SessionTicketsDisabled = true
	}
	return config, nil
}

// parsePair does not return the errors of crypto/tls, because they quote the types of PEM
// blocks, which are content of the file.
func (f Files) parsePair(cert, key []byte) (tls.Certificate, error) {
	if _, err := parseCertificates(f.Cert, cert); err != nil {
		return tls.Certificate{}, err
	}
	if err := checkKey(f.Key, key); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		err = fmt.Errorf("%s is not the key of %s; put a certificate and its own key there, the certificate of the server first in its file", f.Key, f.Cert)
	default:
		err = fmt.Errorf("%s holds a private key that cannot be read; it must be PEM of PKCS #8, PKCS #1 or SEC 1", f.Key)
	}
	return pair, err
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
func (f Files) parsePool(text []byte) (*x509.CertPool, error) {
	for b := range pemBlocks(text) {
		if b.Type != "CERTIFICATE" { // such as a private key, in a file that is often public
			return nil, fmt.Errorf("%s holds something other than certificates; put only the CA certificates of clients there", f.ClientCA)
		}
	}
	all, err := parseCertificates(f.ClientCA, text)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, ca := range all {
		pool.AddCert(ca)
	}
	return pool, nil
}
