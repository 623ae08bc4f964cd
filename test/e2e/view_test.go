package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

// A view shows what an operator sees of tokenagent.
type view interface {
	Ready() bool
	Metrics() string
	Pages() string // all the others
	Log() string
}

// library is the view of an embedded agent.
type library struct {
	agent    *agent.Agent
	registry *prometheus.Registry
	log      testlog.Log
}

func (l *library) Ready() bool { return l.agent.Ready() }

func (l *library) Metrics() string {
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(l.registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

// Pages renders the status in every way that a program might log it.
func (l *library) Pages() string {
	status := l.agent.Status()
	asJSON, err := json.Marshal(status)
	return fmt.Sprintf("%s %v\n%v %+v %#v\n%v %+v", asJSON, err, status, status, status, l.agent, l.agent)
}

func (l *library) Log() string { return l.log.String() }

// daemon is the view of the program.
type daemon struct {
	t       testing.TB
	process *process
	start   func() *process
	admin   string
	client  *http.Client
}

// crash kills the program and starts it again.
func (d *daemon) crash() {
	d.t.Helper()
	d.process.Kill()
	d.process = d.start()
	d.answers()
}

// answers waits until the program serves its admin port.
func (d *daemon) answers() {
	d.t.Helper()
	waitFor(d.t, 10*time.Second, "tokenagent answers on its admin port", func() bool {
		if !d.process.Running() {
			d.t.Fatalf("tokenagent ended with exit code %d", d.process.ExitCode())
		}
		status, _ := d.get("/livez")
		return status == http.StatusOK
	})
}

func (d *daemon) Ready() bool {
	status, _ := d.get("/readyz")
	return status == http.StatusOK
}

func (d *daemon) Metrics() string { return d.page("/metrics") }

func (d *daemon) Pages() string {
	var all strings.Builder
	for _, path := range []string{"/status", "/", "/livez", "/readyz"} {
		all.WriteString(d.page(path))
	}
	return all.String()
}

func (d *daemon) Log() string { return d.process.Output() }

func (d *daemon) page(path string) string {
	status, body := d.get(path)
	if status != http.StatusOK {
		d.t.Errorf("admin page %s answers %d", path, status)
	}
	return body
}

// get returns status 0 if there was no answer.
func (d *daemon) get(path string) (status int, body string) {
	resp, err := d.client.Get(d.admin + path)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(data)
}
