package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/internal/bounded"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// Certificates are the TLS certificates of one or more listeners. They are reloaded
// when their files change: new handshakes get the new certificate, and open
// connections are not affected. Bad files change nothing, are logged once, and are
// read again later. Certificates are safe for concurrent use.
type Certificates struct {
	name    string // in metrics and status
	config  *reload.Value[tls.Config]
	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenCertificates reads f and watches it until Close. name is the name of the listener
// in metrics and status. OpenCertificates accepts an expired certificate with a warning,
// because clients report it more clearly than a closed port. The error names the file
// and the fix, and quotes no content. ctx limits only the first read.
func OpenCertificates(ctx context.Context, name string, f Files, o reload.Options) (*Certificates, error) {
	o.Name = name + " certificate"
	log := o.Logger.With("for", name)
	source, parse := f.source()
	step := func(_ *tls.Config, content reload.Content, now time.Time) (*tls.Config, error) {
		config, err := parse(content)
		if err == nil {
			logValidity(log, config.Certificates[0].Leaf, now)
		}
		return config, err
	}
	value, err := bounded.Do(ctx, "the "+o.Name, func() (*reload.Value[tls.Config], error) { return reload.Open(source, step, o) })
	if err != nil {
		return nil, err
	}
	c := &Certificates{name: name, config: value}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.running.Go(func() { _ = value.Run(ctx) })
	return c, nil
}

func logValidity(log *slog.Logger, leaf *x509.Certificate, now time.Time) {
	log = log.With("not_after", leaf.NotAfter)
	switch {
	case now.After(leaf.NotAfter):
		log.Warn("the certificate has EXPIRED, and clients will refuse it; replace its files, and they are read again")
	case now.Before(leaf.NotBefore):
		log.Warn("the certificate is not valid yet, and clients will refuse it; check the clock, or replace its files", "not_before", leaf.NotBefore)
	default:
		log.Info("certificate in use")
	}
}

// Close stops watching the files. It waits only a second for a read that hangs.
func (c *Certificates) Close() {
	c.stop()
	bounded.Wait(c.running.Wait)
}

// Reload reads the files now. Bad files change nothing.
func (c *Certificates) Reload() (changed bool, err error) {
	if changed, err = c.config.Reload(); err != nil {
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return changed, err
}

// Config returns the configuration of a server that speaks protocols (ALPN, RFC
// 7301), the preferred one first. Each handshake uses the latest good certificates.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	current := func() *tls.Config {
		config := c.config.Load().Clone()
		config.NextProtos = protocols
		return config
	}
	config := current()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil }
	return config
}
