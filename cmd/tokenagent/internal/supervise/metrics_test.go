//go:build unix

package supervise

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := &Supervisor{phase: pausing, deadline: time.Unix(7, 0), started: time.Unix(5, 0), metrics: newMetrics()}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.metrics)
	for range 2 { // before there is a token, and with one
		problems, err := testutil.GatherAndLint(registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		s.next = change{token: tokenA}
		s.takeNext()
		s.publish()
		for i, c := range []prometheus.Counter{s.metrics.changes, s.metrics.retries, s.metrics.signals, s.metrics.kills} {
			c.Add(float64(i + 1))
		}
	}
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				name = append(name, l.GetValue())
			}
			got[strings.Join(name, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"tokenagent_exec_restarts_total change":             2,
		"tokenagent_exec_restarts_total retry":              4,
		"tokenagent_exec_signals_total":                     6,
		"tokenagent_exec_kills_total":                       8,
		"tokenagent_exec_running":                           0,
		"tokenagent_exec_child_start_timestamp_seconds":     5,
		"tokenagent_exec_pending_restart_timestamp_seconds": 7,
		"tokenagent_exec_token_info " + fingerprint(tokenA): 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d series", len(got))
	}
}
