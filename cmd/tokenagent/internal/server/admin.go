package server

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/server/page"
)

// adminServer returns the server of the admin port, for scrapers, probes and people. No
// request to it changes anything.
func (d *daemon) adminServer(c *listener.Certificates, more ...prometheus.Collector) *httpServer {
	s := newHTTPServer(d.Logger, c)
	s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout*3
	s.Handler = requireLoopbackHost(d.adminHandler(more))
	s.BaseContext = func(l net.Listener) context.Context {
		tcp, ok := l.Addr().(*net.TCPAddr)
		return context.WithValue(context.Background(), onLoopback{}, ok && tcp.IP.IsLoopback())
	}
	return s
}

// onLoopback is a context key. Its value reports whether the listener is on loopback.
type onLoopback struct{}

// requireLoopbackHost refuses requests to a listener on loopback whose Host is not
// loopback. Otherwise a web page could resolve its own name to 127.0.0.1 (DNS
// rebinding), and a browser on this machine would let it read the answers.
func requireLoopbackHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, _ := r.Context().Value(onLoopback{}).(bool); local && !isLoopbackHost(r.Host) {
			http.Error(w, "this port is on loopback and answers only for localhost, 127.0.0.0/8 and [::1] as the Host", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopbackHost reports whether host, with or without a port, is localhost or an
// address in 127.0.0.0/8 or ::1. No other name counts, even if it resolves to one.
func isLoopbackHost(host string) bool {
	name, ok := realm.ParseHost(host)
	if !ok || name == "localhost" {
		return ok
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.IsLoopback()
}

func (d *daemon) adminHandler(more []prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(append(more, d.realms)...)
	for _, c := range d.certs {
		registry.MustRegister(c.Metrics()...)
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, true, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if d.draining.Load() {
			answerProbe(w, false, "draining")
		} else {
			answerProbe(w, d.realms.Ready(), "the token source is not loaded yet; see /status")
		}
	})
	mux.HandleFunc("GET /readyz/{realm}", func(w http.ResponseWriter, r *http.Request) {
		if one := d.realms.Table().Named(r.PathValue("realm")); one == nil {
			http.Error(w, "unknown realm; see /status", http.StatusNotFound)
		} else {
			answerProbe(w, one.Agent.Ready() && !d.draining.Load(), "the realm is not loaded yet, or the agent is draining; see /status")
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(d.status(), "", "  ")
		if err != nil {
			answerProbe(w, false, "cannot write the status: "+err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(text, '\n'))
	})
	host, _ := os.Hostname()
	mux.Handle("GET /{$}", page.Handler(d.status, host))
	return mux
}

// status returns the status of the realms and certificates. It agrees with /readyz: no
// realm is ready while the daemon drains.
func (d *daemon) status() realm.Status {
	s := d.realms.Status()
	for _, c := range d.certs {
		s.Certificates = append(s.Certificates, c.Status())
	}
	if d.draining.Load() {
		s.Draining, s.Ready = true, false
		for i := range s.Realms {
			s.Realms[i].Ready = false
		}
	}
	return s
}

func answerProbe(w http.ResponseWriter, ok bool, reason string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if ok {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(reason + "\n"))
}
