package realm

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// A Status is the answer of the admin port under /status. The embedded Status has the
// sources of all realms. Config and Realms are set only with a file of realms.
type Status struct {
	agent.Status
	Draining bool          `json:"draining,omitempty"` // about to end, so not ready; set by the daemon
	Config   *ConfigStatus `json:"config,omitempty"`
	Realms   []OneStatus   `json:"realms,omitempty"`

	Certificates []listener.Status `json:"certificates,omitempty"` // of the listeners with TLS; set by the daemon
}

// A ConfigStatus describes the file of realms.
type ConfigStatus struct {
	File        string    `json:"file"`
	WatchMode   string    `json:"watch_mode"`
	Good        bool      `json:"last_reload_successful"`
	LastSuccess time.Time `json:"last_reload_success,omitzero"` // when it was last read without error
	LastChange  time.Time `json:"last_change,omitzero"`         // when its content last came into force
	Error       string    `json:"fault,omitempty"`              // the present error, with its fix
}

// A OneStatus describes a realm.
type OneStatus struct {
	Name    string   `json:"name"`
	Ready   bool     `json:"ready"`
	Hosts   []string `json:"hosts,omitempty"`
	Sources []string `json:"sources"` // the names of its sources in Status.Sources
}

// Status returns what the realms accept now.
func (s *Set) Status() Status {
	t := s.Table()
	out := Status{Config: s.config()}
	for i, r := range t.realms {
		a := r.Agent.Status()
		if i == 0 {
			out.Status = a
		} else {
			out.Ready = out.Ready || a.Ready
			out.Sources = append(out.Sources, a.Sources...)
		}
		if out.Config == nil {
			continue
		}
		one := OneStatus{Name: r.Name, Ready: a.Ready, Hosts: r.Hosts}
		for _, src := range a.Sources {
			one.Sources = append(one.Sources, src.Name)
		}
		out.Realms = append(out.Realms, one)
	}
	return out
}

func (s *Set) config() *ConfigStatus {
	if s.plan == nil {
		return nil
	}
	stats := s.plan.Stats()
	c := &ConfigStatus{
		File: s.path, WatchMode: stats.Mode, LastSuccess: stats.LastSuccess.UTC().Round(0),
		LastChange: s.Table().since.UTC().Round(0), Good: true,
	}
	switch applyErr := *s.applyErr.Load(); {
	case stats.LastError != nil:
		c.Good, c.Error = false, stats.LastError.Error()
	case applyErr != "":
		c.Good, c.Error, c.LastSuccess = false, s.path+": "+applyErr, c.LastChange
	}
	return c
}

//nolint:gochecknoglobals // constants
var (
	descConfigGood    = prometheus.NewDesc("tokenagent_config_last_reload_successful", "Whether the file of realms was good when it was last read, and is in force (1) or not (0).", nil, nil)
	descConfigSuccess = prometheus.NewDesc("tokenagent_config_last_reload_success_timestamp_seconds", "When the file of realms was last read and in force, as Unix time.", nil, nil)
	descRealms        = prometheus.NewDesc("tokenagent_realms", "Realms in force, by whether their sources are loaded.", []string{"ready"}, nil)
	descMisses        = prometheus.NewDesc("tokenagent_unknown_realm_total", "Requests refused because they belong to no realm.", nil, nil)
)

// Describe implements [prometheus.Collector]. With a file of realms it describes nothing,
// because the metrics change with the realms.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	if s.plan == nil {
		s.Table().realms[0].Agent.Describe(ch)
	}
}

// Collect implements [prometheus.Collector]. With a file of realms the metrics of each
// agent have the label realm.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	t := s.Table()
	if s.plan == nil {
		t.realms[0].Agent.Collect(ch)
		return
	}
	for _, r := range t.realms {
		prometheus.WrapCollectorWith(prometheus.Labels{"realm": r.Name}, r.Agent).Collect(ch)
	}
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...) //nolint:promlinter // the tests lint what is gathered
	}
	c, good := s.config(), 0.0
	if c.Good {
		good = 1
	}
	emit(descConfigGood, prometheus.GaugeValue, good)
	emit(descConfigSuccess, prometheus.GaugeValue, float64(c.LastSuccess.UnixMilli())/1000)
	emit(descMisses, prometheus.CounterValue, float64(s.misses.Load()))
	ready := 0
	for _, r := range t.realms {
		if r.Agent.Ready() {
			ready++
		}
	}
	emit(descRealms, prometheus.GaugeValue, float64(ready), "true")
	emit(descRealms, prometheus.GaugeValue, float64(len(t.realms)-ready), "false")
}
