package daemon

import (
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/agent"
)

// adminServer returns the server of the admin port: for scrapers, probes and
// people, none of whom can change anything.
func (o *Options) adminServer(a *agent.Agent, draining *atomic.Bool) *http.Server {
	s := newServer(o.Logger)
	s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout*3
	s.Handler = adminHandler(a, draining)
	return s
}

func adminHandler(a *agent.Agent, draining *atomic.Bool) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(a, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { probe(w, true, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case draining.Load():
			probe(w, false, "draining")
		default:
			probe(w, a.Ready(), "the token source is not loaded yet; see /status")
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(a.Status(), "", "  ")
		if err != nil {
			probe(w, false, "the status cannot be rendered: "+err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(text, '\n'))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { page(w, a.Status()) })
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
