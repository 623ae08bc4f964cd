package supervise

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics holds the metrics of exec in a registry.
type metrics struct {
	*prometheus.Registry
	changes, retries, signals, kills prometheus.Counter
	running, started, pending        prometheus.Gauge
	token                            *prometheus.GaugeVec
}

func newMetrics() *metrics {
	m := &metrics{Registry: prometheus.NewRegistry()}
	create := promauto.With(m)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "tokenagent_exec_" + name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "tokenagent_exec_" + name, Help: help}
	}
	restarts := create.NewCounterVec(counter("restarts_total", "Restarts of the program, by reason: its token changed, or it failed soon after a restart."), []string{"reason"})
	m.changes, m.retries = restarts.WithLabelValues("change"), restarts.WithLabelValues("retry")
	m.signals = create.NewCounter(counter("signals_total", "Signals that told the program of a change (--on-change signal)."))
	m.kills = create.NewCounter(counter("kills_total", "Programs killed because they did not end within --stop-timeout."))
	m.running = create.NewGauge(gauge("running", "Whether the program runs (1) or not (0)."))
	m.started = create.NewGauge(gauge("child_start_timestamp_seconds", "When the program was last started, as Unix time; 0 for never."))
	m.pending = create.NewGauge(gauge("pending_restart_timestamp_seconds", "When the program is due to get another token or to be tried again, as Unix time; 0 for neither."))
	m.token = create.NewGaugeVec(gauge("token_info", "The token that the program has, by fingerprint (the first 8 hex digits of SHA-256)."), []string{"fingerprint"})
	return m
}

// publish sets the gauges to the current state.
func (s *Supervisor) publish() {
	s.metrics.running.Set(0)
	if s.prog != nil {
		s.metrics.running.Set(1)
	}
	pending := s.next.due
	if s.phase == pausing {
		pending = earliest(s.deadline, s.next.due)
	}
	s.metrics.pending.Set(unixTime(pending))
	s.metrics.started.Set(unixTime(s.started))
}

func unixTime(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
