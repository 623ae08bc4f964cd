package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon/page"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// adminServer returns the server of the admin port: for scrapers, probes and
// people, none of whom can change anything.
func (o *Options) adminServer(realms *realm.Set, draining *atomic.Bool, more ...prometheus.Collector) *http.Server {
	s := newServer(o.Logger)
	s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout*3
	s.Handler = adminHandler(realms, draining, more...)
	return s
}

// ServeAdmin answers on addr as the admin port of run does, with the metrics of
// more beside those of a, until stop.
func ServeAdmin(ctx context.Context, addr string, a *agent.Agent, log *slog.Logger, more ...prometheus.Collector) (stop func(), err error) {
	var draining atomic.Bool
	o := Options{Logger: log}
	s := o.adminServer(realm.Single(a, nil, realm.Options{Logger: log}), &draining, more...)
	l, err := listen(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("--admin-listen: %w", err)
	}
	log.Info("listening", "for", "admin-listen", "addr", l.Addr().String())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin port answers no more", "error", err)
		}
	})
	return func() {
		_ = s.Close()
		serving.Wait()
	}, nil
}

func adminHandler(realms *realm.Set, draining *atomic.Bool, more ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(append(more, realms)...)
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
		t := realms.Enter()
		defer t.Leave()
		if one := t.Named(r.PathValue("realm")); one == nil {
			http.Error(w, "there is no such realm; see /status", http.StatusNotFound)
		} else {
			probe(w, one.Agent.Ready() && !draining.Load(), "the realm is not loaded yet, or the agent is draining; see /status")
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(realms.Status(), "", "  ")
		if err != nil {
			probe(w, false, "the status cannot be rendered: "+err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(text, '\n'))
	})
	host, _ := os.Hostname()
	mux.Handle("GET /{$}", page.Handler(page.Options{Status: realms.Status, Draining: draining.Load, Host: host}))
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
