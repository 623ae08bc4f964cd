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

// TLS holds the flags for an admin port that speaks TLS.
type TLS struct{ caFile, certFile, keyFile string }

// Add adds the flags to fs.
func (t *TLS) Add(fs *pflag.FlagSet) {
	fs.StringVar(&t.caFile, "agent-ca-file", "", "`PATH` of the CA certificates (PEM) that are trusted for an https --agent (default: the system's)")
	fs.StringVar(&t.certFile, "agent-cert-file", "", "`PATH` of the client certificate (PEM) for an https --agent that asks for one (--admin-tls-client-ca-file); requires --agent-key-file")
	fs.StringVar(&t.keyFile, "agent-key-file", "", "`PATH` of the private key (PEM) of --agent-cert-file")
}

// Client reads the files and returns a Client that uses them. The error names the flag,
// and quotes no content of a file.
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
			return nil, fmt.Errorf("--agent-ca-file: %s: it holds no certificate; put the CA's certificate there as PEM", t.caFile)
		}
	}
	if t.certFile != "" {
		pair, err := tls.LoadX509KeyPair(t.certFile, t.keyFile)
		var path *os.PathError
		switch {
		case errors.As(err, &path):
			return nil, fmt.Errorf("--agent-cert-file and --agent-key-file: %w", path)
		case err != nil:
			// The error of crypto/tls quotes the types of PEM blocks.
			return nil, fmt.Errorf("--agent-cert-file and --agent-key-file: %s and %s do not belong together, or are not PEM; give a certificate and its own key", t.certFile, t.keyFile)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return &Client{TLS: c}, nil
}
