// Package server serves the listeners of `tokenagent run`: forward auth or a reverse
// proxy on one listener, ext_authz over gRPC on another, and metrics, health and status
// on a third.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/bounded"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// heapBallast returns an allocation that only raises the heap size at which the garbage
// collector runs. The live heap is about a megabyte, so the collector would otherwise run
// fifty times a second under load. Nobody writes to the ballast, so it gets no pages from
// the system. Unlike a higher GOGC it does not multiply the memory that a large source
// needs, and a process with many realms gets none. It raises the throughput through nginx
// by about a tenth.
func heapBallast() []byte {
	const enough = 4 << 20
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return make([]byte, max(0, enough-int64(live[0].Value.Uint64())))
}

// Run serves until ctx ends and for o.ShutdownDelay after that. Then it drains and
// returns nil. It returns an error if it cannot open a listener, or if a listener fails.
// The Guards of realms must have the options of [Options.Auth]. Run does not close
// realms.
func Run(ctx context.Context, realms *realm.Set, o Options) error {
	ballast := heapBallast()
	defer runtime.KeepAlive(ballast)
	d, err := start(ctx, realms, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // a signal ended the start
		}
		return err
	}
	defer d.close()
	defer OnHangup(o.Hangup, o.Logger, append(d.certReloaders(), realms)...)()
	select {
	case err = <-d.failed:
		d.draining.Store(true)
	case <-ctx.Done():
		d.draining.Store(true)
		d.drainHealth()
		err = d.delayShutdown()
	}
	o.Logger.Info("draining", "timeout", o.DrainTimeout)
	d.drain(context.WithoutCancel(ctx))
	return err
}

// ServeAdmin serves o.AdminListen as Run does, until stop is called. Its metrics are those
// of a and of more. certs holds the certificate of that port, if it has one.
func ServeAdmin(ctx context.Context, a *agent.Agent, o Options, more ...prometheus.Collector) (certs []Reloader, stop func(), err error) {
	o.Listen, o.GRPCListen = "", ""
	d, err := start(ctx, realm.Single(a, realm.Spec{}, realm.Options{Logger: o.Logger}), o, more...)
	if err != nil {
		return nil, nil, err
	}
	return d.certReloaders(), d.close, nil
}

// A daemon is everything that a process serves.
type daemon struct {
	Options
	realms      *realm.Set
	certs       []*listener.Certificates
	endpoints   []endpoint  // the admin port is the last
	draining    atomic.Bool // /readyz and /status report it
	drainHealth func()      // makes the grpc health report it
	serving     sync.WaitGroup
	failed      chan error // the errors of listeners that ended by themselves
}

// An endpoint is the address of a listener and the server that answers on it.
type endpoint struct {
	flag, addr string
	server
}

type server interface {
	Serve(l net.Listener) error // nil or http.ErrServerClosed after Shutdown or Close
	Shutdown(ctx context.Context) error
	Close() error
}

const adminFlag = "admin-listen"

// start opens all listeners of o and serves them. ctx limits only the opening.
func start(ctx context.Context, realms *realm.Set, o Options, more ...prometheus.Collector) (_ *daemon, err error) {
	d := &daemon{Options: o, realms: realms, drainHealth: func() {}, failed: make(chan error, 3)}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	mainTLS, err := d.openCertificates(ctx, "listen", "", d.TLS)
	if err != nil {
		return nil, err
	}
	adminTLS, err := d.openCertificates(ctx, adminFlag, "admin-", d.AdminTLS)
	if err != nil {
		return nil, err
	}
	if d.Listen != "" {
		main := d.mainServer(overTCP(d.Listen, mainTLS)) //nolint:contextcheck // ctx limits only the opening
		d.endpoints = append(d.endpoints, endpoint{"listen", d.Listen, main})
	}
	if d.GRPCListen != "" {
		authz := extauthz.New(d.realms, d.Logger, grpcTLS(overTCP(d.GRPCListen, mainTLS))...)
		d.drainHealth = authz.Drain
		d.endpoints = append(d.endpoints, endpoint{"grpc-listen", d.GRPCListen, authz})
	}
	if d.AdminListen != "" {
		d.endpoints = append(d.endpoints, endpoint{adminFlag, d.AdminListen, d.adminServer(overTCP(d.AdminListen, adminTLS), more...)})
	}
	for _, e := range d.endpoints {
		l, err := listener.Open(ctx, e.addr, d.Socket)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", e.flag, err)
		}
		d.Logger.Info("listening", "for", e.flag, "addr", l.Addr().String())
		d.serving.Go(func() {
			if err := e.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				d.Logger.Error("a listener has failed", "for", e.flag, "error", err)
				d.failed <- fmt.Errorf("--%s: %w", e.flag, err)
			}
		})
	}
	return d, nil
}

// openCertificates returns nil if files are not given. prefix is the prefix of the flags.
func (d *daemon) openCertificates(ctx context.Context, name, prefix string, files listener.Files) (*listener.Certificates, error) {
	if !files.Given() {
		return nil, nil //nolint:nilnil // no TLS is not an error
	}
	c, err := listener.OpenCertificates(ctx, name, files, reload.Options{
		Poll: d.Poll, Debounce: d.Debounce, Watcher: d.realms.Watcher(), Logger: d.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("--%stls-*-file: %w", prefix, err)
	}
	d.certs = append(d.certs, c)
	return c, nil
}

// overTCP returns c if addr is a TCP address. It returns nil for a Unix socket, which
// needs no TLS: its permissions decide who may connect, and nobody can read its traffic.
func overTCP(addr string, c *listener.Certificates) *listener.Certificates {
	if _, isSocket := listener.Path(addr); isSocket {
		return nil
	}
	return c
}

// grpcTLS makes grpc itself speak TLS, so that it requires h2 (ALPN) and limits the time
// of the handshake.
func grpcTLS(c *listener.Certificates) []grpc.ServerOption {
	if c == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(c.Config("h2")))}
}

// close closes all listeners and connections, and stops watching the certificates.
func (d *daemon) close() {
	for _, e := range d.endpoints {
		_ = e.Close()
	}
	d.serving.Wait()
	for _, c := range d.certs {
		c.Close()
	}
}

func (d *daemon) certReloaders() (all []Reloader) {
	for _, c := range d.certs {
		all = append(all, c)
	}
	return all
}

// delayShutdown waits for ShutdownDelay. SIGTERM or SIGINT ends the wait, and so does
// a listener that fails, whose error it returns.
func (d *daemon) delayShutdown() error {
	if d.ShutdownDelay <= 0 {
		return nil
	}
	again := make(chan os.Signal, 1) // the signal that ended ctx is not delivered here
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	d.Logger.Info("shutting down: not ready, but accepting new connections until the delay ends", "delay", d.ShutdownDelay)
	return wait(d.ShutdownDelay, d.failed, again)
}

// wait returns nil after delay or at a signal. It returns an error of failed at once.
func wait(delay time.Duration, failed <-chan error, again <-chan os.Signal) error {
	over := time.NewTimer(delay)
	defer over.Stop()
	select {
	case err := <-failed:
		return err
	case <-again:
		return nil
	case <-over.C:
		return nil
	}
}

// drain waits until the open requests end, on all listeners at the same time. It shuts
// down the admin port last, so that probes and scrapers get answers until then.
func (d *daemon) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.DrainTimeout)
	defer cancel()
	shutdown := func(e endpoint) {
		if err := e.Shutdown(ctx); err != nil {
			d.Logger.Warn("open requests were cut off at the end of the drain timeout", "for", e.flag)
			_ = e.Close()
		}
	}
	var stopping sync.WaitGroup
	for _, e := range d.endpoints {
		if e.flag != adminFlag {
			stopping.Go(func() { shutdown(e) })
		}
	}
	stopping.Wait()
	if last := d.endpoints[len(d.endpoints)-1]; last.flag == adminFlag {
		shutdown(last)
	}
}

// A Reloader reads its sources again: an agent, a realm.Set or a listener's certificates.
type Reloader interface {
	Reload() (changed bool, err error)
}

// OnHangup reloads all for each signal on hup, until stop is called.
func OnHangup(hup <-chan os.Signal, log *slog.Logger, all ...Reloader) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-hup:
				reloadAll(log, all)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		bounded.Wait(running.Wait) // a reload may hang
	}
}

// reloadAll reloads all of them, even if one returns an error.
func reloadAll(log *slog.Logger, all []Reloader) {
	anyChanged := false
	var errs []error
	for _, one := range all {
		changed, err := one.Reload()
		anyChanged = anyChanged || changed
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		log.Warn("SIGHUP: a source was not reloaded; its last good content stays in force", "error", err)
		return
	}
	log.Info("SIGHUP: all sources were read", "changed", anyChanged)
}
