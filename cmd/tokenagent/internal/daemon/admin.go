package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon/page"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// adminServer returns the server of the admin port: for scrapers, probes and
// people, none of whom can change anything.
func (o *Options) adminServer(realms *realm.Set, draining *atomic.Bool, more ...prometheus.Collector) *http.Server {
	s := newServer(o.Logger)
	s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout*3
	s.Handler = onlyAsLoopback(adminHandler(realms, draining, o.certs, more...))
	s.BaseContext = func(l net.Listener) context.Context {
		return context.WithValue(context.Background(), onLoopback{}, isLoopback(l.Addr()))
	}
	return s
}

// onLoopback is the key of whether a request came to a listener on loopback.
type onLoopback struct{}

// isLoopback reports whether addr is a TCP address that only this machine reaches.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// onlyAsLoopback refuses requests to a listener on loopback whose Host is not
// loopback. Otherwise a web page could have its own name lead to 127.0.0.1 (DNS
// rebinding), and a browser on this machine would let it read the answers.
func onlyAsLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, _ := r.Context().Value(onLoopback{}).(bool); local && !isLoopbackHost(r.Host) {
			http.Error(w, "this port is on loopback and answers only for localhost, 127.0.0.0/8 and [::1] as the Host", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopbackHost reports whether host, with or without a port, is localhost or an
// address in 127.0.0.0/8 or ::1. No other name counts, even if it leads there.
func isLoopbackHost(host string) bool {
	name, ok := realm.ParseHost(host)
	if !ok || name == "localhost" {
		return ok
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.IsLoopback()
}

// ServeAdmin answers on o.AdminListen as the admin port of run does, with the
// metrics of more beside those of a, until stop. certs are those of that port.
func ServeAdmin(ctx context.Context, a *agent.Agent, o Options, more ...prometheus.Collector) (certs Reloader, stop func(), err error) {
	var draining atomic.Bool
	log := o.Logger
	all := realm.Single(a, nil, realm.Options{Logger: log})
	_, admin, err := o.openCerts(ctx, all.Watcher())
	if err != nil {
		o.certs.Close()
		return nil, nil, err
	}
	port := o.adminServer(all, &draining, more...)
	s := overTLS(port, port, overTCP(o.AdminListen, admin))
	l, err := listener.Open(ctx, o.AdminListen, o.Socket)
	if err != nil {
		o.certs.Close()
		return nil, nil, fmt.Errorf("--admin-listen: %w", err)
	}
	log.Info("listening", "for", "admin-listen", "addr", l.Addr().String())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin port answers no more", "error", err)
		}
	})
	return o.with(), func() {
		_ = s.Close()
		serving.Wait()
		o.certs.Close()
	}, nil
}

func adminHandler(realms *realm.Set, draining *atomic.Bool, certs listener.All, more ...prometheus.Collector) http.Handler {
	status := func() realm.Status {
		s := realms.Status()
		s.Certificates = certs.Status()
		if draining.Load() { // as /readyz says
			s.Draining, s.Ready = true, false
			for i := range s.Realms {
				s.Realms[i].Ready = false
			}
		}
		return s
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(append(more, realms, certs)...)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { probe(w, true, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case draining.Load():
			probe(w, false, "draining")
		default:
			probe(w, realms.Ready(), "the token source is not loaded yet; see /status")
		}
	})
	mux.HandleFunc("GET /readyz/{realm}", func(w http.ResponseWriter, r *http.Request) {
		t := realms.Table()
		if one := t.Named(r.PathValue("realm")); one == nil {
			http.Error(w, "there is no such realm; see /status", http.StatusNotFound)
		} else {
			probe(w, one.Agent.Ready() && !draining.Load(), "the realm is not loaded yet, or the agent is draining; see /status")
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(status(), "", "  ")
		if err != nil {
			probe(w, false, "the status cannot be rendered: "+err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(text, '\n'))
	})
	host, _ := os.Hostname()
	mux.Handle("GET /{$}", page.Handler(page.Options{Status: status, Draining: draining.Load, Host: host}))
	return mux
}

func probe(w http.ResponseWriter, good bool, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if good {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(why + "\n"))
}
