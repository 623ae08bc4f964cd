package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Certificates are those of one or more listeners, in step with their files. Each
// handshake has what is good at its time; connections stay as they began. Files
// that are bad change nothing, are in the log once, and are tried again. It is
// safe for concurrent use.
type Certificates struct {
	name    string // in metrics and status
	pair    *reload.Value[pair]
	clients *reload.Value[x509.CertPool] // nil asks for none
	log     *slog.Logger
	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenCertificates reads f, and keeps in step with it until Close. name is what
// metrics and status call the listener. A certificate that has expired is taken,
// with a warning: clients say better what they think of it than nobody at the
// port. The error names the file and the mend, and nothing of what was read. ctx
// bounds the first read alone; one that hangs is left behind when ctx ends.
func OpenCertificates(ctx context.Context, name string, f Files, o reload.Options) (*Certificates, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Certificates{name: name, log: o.Logger}
	if err := within(ctx, func() error { return c.read(f, o) }); err != nil {
		return nil, err
	}
	c.follow(context.WithoutCancel(ctx))
	return c, nil
}

// within returns what read does, or why ctx ended before that.
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
	src, step := f.pairSource()
	o.Name = c.name + " certificate"
	if c.pair, err = reload.Open(src, step, o); err != nil || f.ClientCA == "" {
		return err
	}
	o.Name = c.name + " client CA"
	c.clients, err = reload.Open(reload.File(f.ClientCA), f.parsePool, o)
	return err
}

// follow keeps in step with the files until Close, or until ctx ends.
func (c *Certificates) follow(ctx context.Context) {
	ctx, c.stop = context.WithCancel(ctx)
	updated := c.pair.Updated()
	c.tell()
	c.running.Go(func() { _ = c.pair.Run(ctx) })
	if c.clients != nil {
		c.running.Go(func() { _ = c.clients.Run(ctx) })
	}
	c.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-updated:
			}
			updated = c.pair.Updated()
			c.tell()
		}
	})
}

// tell logs until when the certificate is good.
func (c *Certificates) tell() {
	p, now := c.pair.Load(), time.Now()
	log := c.log.With("for", c.name, "not_after", p.until)
	switch {
	case now.After(p.until):
		log.Warn("the certificate has EXPIRED, and clients will refuse it; replace its files, they are read again")
	case now.Before(p.notBefore):
		log.Warn("the certificate is not valid yet, and clients will refuse it; look at the clock, or replace its files", "not_before", p.notBefore)
	default:
		log.Info("certificate in force")
	}
}

// Close stops following the files.
func (c *Certificates) Close() {
	c.stop()
	c.running.Wait()
}

// Reload reads the files now. What is bad changes nothing.
func (c *Certificates) Reload() (changed bool, err error) {
	changed, err = c.pair.Reload()
	if err != nil {
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	if c.clients == nil {
		return changed, err
	}
	more, poolErr := c.clients.Reload()
	if poolErr != nil && err == nil {
		err = fmt.Errorf("%s: %w", c.name, poolErr)
	}
	return changed || more, err
}

// Config returns the settings of a server that speaks protocols (ALPN, RFC 7301),
// the best first. It gives each handshake what is good by then.
//
// With client certificates nothing is resumed: a ticket would vouch for a client
// whose root has gone meanwhile. Without them there is nothing to vouch for, and
// tickets save a handshake as ever.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	now := func() *tls.Config {
		o := &tls.Config{
			MinVersion:   tls.VersionTLS12,
			NextProtos:   protocols,
			Certificates: []tls.Certificate{c.pair.Load().cert},
		}
		if c.clients != nil {
			o.ClientAuth = tls.RequireAndVerifyClientCert
			o.ClientCAs = c.clients.Load()
			o.SessionTicketsDisabled = true
		}
		return o
	}
	o := now()
	o.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	return o
}
