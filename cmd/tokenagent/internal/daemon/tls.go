package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// openCerts reads the certificates of the listeners, into o.certs, which is to be
// closed whatever it returns. They are nil where there is no TLS. w watches them
// from then on; ctx bounds the first read alone.
func (o *Options) openCerts(ctx context.Context, w *reload.Watcher) (main, admin *listener.Certificates, err error) {
	ro := reload.Options{Poll: o.Poll, Debounce: o.Debounce, Watcher: w, Logger: o.Logger}
	for _, one := range []struct {
		name, prefix string
		files        listener.Files
		opened       **listener.Certificates
	}{{"listen", "", o.TLS, &main}, {adminFlag, "admin-", o.AdminTLS, &admin}} {
		if !one.files.Given() {
			continue
		}
		c, err := listener.OpenCertificates(ctx, one.name, one.files, ro)
		if err != nil {
			return nil, nil, fmt.Errorf("--%stls-*-file: %w", one.prefix, err)
		}
		*one.opened = c
		o.certs = append(o.certs, c)
	}
	return main, admin, nil
}

// overTCP returns c where addr is of TCP, and nil where it is a Unix socket: who
// may connect there its permissions say, nobody listens in between, and what asks
// a socket for the status speaks no TLS.
func overTCP(addr string, c *listener.Certificates) *listener.Certificates {
	if _, local := listener.Path(addr); local {
		return nil
	}
	return c
}

// overTLS returns outer, which serves through s, over TLS where c is not nil: with
// HTTP/2 and HTTP/1.1. net/http shakes hands in a connection's own goroutine, and
// bounds that by ReadHeaderTimeout.
func overTLS(outer server, s *http.Server, c *listener.Certificates) server {
	if c == nil {
		return outer
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	s.Protocols = &p
	// For net/http to set itself up for HTTP/2. What is in force is the listener's.
	s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols()}
	return secure{outer, c.Config(protocols()...)}
}

func protocols() []string { return []string{"h2", "http/1.1"} }

// A secure server speaks TLS.
type secure struct {
	server
	config *tls.Config
}

func (s secure) Serve(l net.Listener) error { return s.server.Serve(tls.NewListener(l, s.config)) }

// grpcTLS has grpc itself speak TLS, so that it insists on h2 (ALPN) and bounds the
// handshake.
func grpcTLS(c *listener.Certificates) []grpc.ServerOption {
	if c == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(c.Config("h2")))}
}

// with returns all that is read again: these, and the certificates.
func (o *Options) with(others ...Reloader) Both {
	for _, c := range o.certs {
		others = append(others, c)
	}
	return others
}

// Both are read again in turn.
type Both []Reloader

// Reload reads each, whatever the others said.
func (b Both) Reload() (changed bool, err error) {
	var faults []error
	for _, one := range b {
		news, err := one.Reload()
		changed = changed || news
		faults = append(faults, err)
	}
	return changed, errors.Join(faults...)
}
