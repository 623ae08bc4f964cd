package statusclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// TLS is the flags about an admin port that speaks TLS.
type TLS struct{ caFile, certFile, keyFile string }

// Add adds them to fs.
func (t *TLS) Add(fs *pflag.FlagSet) {
	fs.StringVar(&t.caFile, "agent-ca-file", "", "PEM file `PATH` of the CA certificates that are trusted for an https --agent (default: the system's)")
	fs.StringVar(&t.certFile, "agent-cert-file", "", "PEM file `PATH` of the client certificate for an https --agent that asks for one (--admin-tls-client-ca-file); requires --agent-key-file")
	fs.StringVar(&t.keyFile, "agent-key-file", "", "`PATH` of the key of --agent-cert-file")
}

// Client reads the files and returns a Client that asks by them. The error names
// the flag, and quotes nothing of a file.
func (t *TLS) Client() (*Client, error) {
	if (t.certFile == "") != (t.keyFile == "") {
		return nil, exitcode.Usage("--agent-cert-file and --agent-key-file go together, and one of them is missing")
	}
	if t.caFile == "" && t.certFile == "" {
		return &Client{}, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.caFile != "" {
		data, err := os.ReadFile(t.caFile)
		if err != nil {
			return nil, fmt.Errorf("--agent-ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--agent-ca-file: %s: there is no certificate in it; give it the authority's as PEM", t.caFile)
		}
	}
	if t.certFile != "" {
		pair, err := tls.LoadX509KeyPair(t.certFile, t.keyFile)
		var path *os.PathError
		switch {
		case errors.As(err, &path):
			return nil, fmt.Errorf("--agent-cert-file and --agent-key-file: %w", path)
		case err != nil:
			// The library's words quote the types of PEM blocks.
			return nil, fmt.Errorf("--agent-cert-file and --agent-key-file: %s and %s are no pair, or no PEM; give a certificate and the key that belongs to it", t.certFile, t.keyFile)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return &Client{TLS: c}, nil
}
