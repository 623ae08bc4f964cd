package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Certificates are the TLS certificates of one or more listeners. They are reloaded
// when their files change: new handshakes get the new certificate, and open
// connections are not affected. Bad files change nothing, are logged once, and are
// read again later. Certificates are safe for concurrent use.
type Certificates struct {
	name    string // in metrics and status
	pair    *reload.Value[tls.Certificate]
	clients *reload.Value[x509.CertPool] // nil if clients need no certificate
	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenCertificates reads f and watches it until Close. name is that of the listener
// in metrics and status. An expired certificate is used, with a warning, because
// clients report that more clearly than a closed port. The error names the file and
// the fix, and quotes no content. ctx bounds the first read alone; a read that hangs
// is abandoned when ctx ends.
func OpenCertificates(ctx context.Context, name string, f Files, o reload.Options) (*Certificates, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Certificates{name: name}
	if err := within(ctx, func() error { return c.read(f, o) }); err != nil {
		return nil, err
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.running.Go(func() { _ = c.pair.Run(ctx) })
	if c.clients != nil {
		c.running.Go(func() { _ = c.clients.Run(ctx) })
	}
	return c, nil
}

// within returns the error of read, or that of ctx if ctx ends first.
func within(ctx context.Context, read func() error) error {
	done := make(chan error, 1)
	go func() { done <- read() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reading was given up: %w", context.Cause(ctx))
	}
}

// read reads all files for the first time.
func (c *Certificates) read(f Files, o reload.Options) (err error) {
	source, parse := f.pair()
	o.Name = c.name + " certificate"
	log := o.Logger.With("for", c.name)
	step := func(_ *tls.Certificate, content reload.Content, now time.Time) (*tls.Certificate, error) {
		pair, err := parse(content)
		if err == nil {
			logValidity(log, pair.Leaf, now)
		}
		return pair, err
	}
	if c.pair, err = reload.Open(source, step, o); err != nil || f.ClientCA == "" {
		return err
	}
	o.Name = c.name + " client CA"
	c.clients, err = reload.Open(reload.File(f.ClientCA), f.parsePool, o)
	return err
}

func logValidity(log *slog.Logger, leaf *x509.Certificate, now time.Time) {
	log = log.With("not_after", leaf.NotAfter)
	switch {
	case now.After(leaf.NotAfter):
		log.Warn("the certificate has EXPIRED, and clients will refuse it; replace its files, they are read again")
	case now.Before(leaf.NotBefore):
		log.Warn("the certificate is not valid yet, and clients will refuse it; check the clock, or replace its files", "not_before", leaf.NotBefore)
	default:
		log.Info("certificate in use")
	}
}

// Close stops watching the files.
func (c *Certificates) Close() {
	c.stop()
	c.running.Wait()
}

// Reload reads the files now. Bad files change nothing.
func (c *Certificates) Reload() (changed bool, err error) {
	changed, err = c.pair.Reload()
	if c.clients != nil {
		poolChanged, poolErr := c.clients.Reload()
		changed, err = changed || poolChanged, errors.Join(err, poolErr)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return changed, err
}

// Config returns the configuration of a server that speaks protocols (ALPN, RFC
// 7301), the preferred one first. Each handshake uses the certificates of that time.
//
// If clients need a certificate, no session is resumed: a ticket would vouch for a
// client whose CA has been removed since.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	current := func() *tls.Config {
		o := &tls.Config{
			MinVersion:   tls.VersionTLS12,
			NextProtos:   protocols,
			Certificates: []tls.Certificate{*c.pair.Load()},
		}
		if c.clients != nil {
			o.ClientAuth = tls.RequireAndVerifyClientCert
			o.ClientCAs = c.clients.Load()
			o.SessionTicketsDisabled = true
		}
		return o
	}
	o := current()
	o.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil }
	return o
}
