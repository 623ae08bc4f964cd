package supervise

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Supervisor)(nil)

// metrics are what scrapes read.
type metrics struct {
	changes, retries, signals, kills prometheus.Counter
	running, started, pending        prometheus.Gauge
	token                            *prometheus.GaugeVec
	all                              []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tokenagent_exec_" + name, Help: help}, labels)
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tokenagent_exec_" + name, Help: help}, labels)
		m.all = append(m.all, g)
		return g
	}
	restarts := counter("restarts_total", "Restarts of the program, by reason: its token changed, or it failed soon after a restart.", "reason")
	m.changes, m.retries = restarts.WithLabelValues("change"), restarts.WithLabelValues("retry")
	m.signals = counter("signals_total", "Signals that told the program of a change (--on-change signal).").WithLabelValues()
	m.kills = counter("kills_total", "Programs killed because they did not end within --stop-timeout.").WithLabelValues()
	m.running = gauge("running", "Whether the program runs (1) or not (0).").WithLabelValues()
	m.started = gauge("child_start_timestamp_seconds", "When the program was last started, as Unix time; 0 for never.").WithLabelValues()
	m.pending = gauge("pending_restart_timestamp_seconds", "When the program is due to get another token or to be tried again, as Unix time; 0 for neither.").WithLabelValues()
	m.token = gauge("token_info", "The token that the program has, by fingerprint (the first 8 hex digits of SHA-256).", "fingerprint")
	return m
}

// publish shows scrapes the state as it is now.
func (s *Supervisor) publish() {
	s.metrics.running.Set(0)
	if s.prog != nil {
		s.metrics.running.Set(1)
	}
	s.metrics.started.Set(unixTime(s.started))
	s.metrics.pending.Set(unixTime(s.pending()))
}

// pending returns when the program gets another token or is tried again; zero for neither.
func (s *Supervisor) pending() time.Time {
	if s.phase == pausing {
		return earliest(s.deadline, s.due())
	}
	return s.due()
}

// Describe implements [prometheus.Collector].
func (s *Supervisor) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.all {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (s *Supervisor) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.all {
		c.Collect(ch)
	}
}

func unixTime(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
