package e2e

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A metricsPage is one scrape.
type metricsPage map[string]*dto.MetricFamily

// labels select the samples that have all of these values.
type labels map[string]string

// parseMetrics reads a page in the text format.
func parseMetrics(tb testing.TB, text string) metricsPage {
	tb.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		tb.Fatalf("metrics page: %v", err)
	}
	return families
}

// Sum adds the values of the samples of a counter or gauge that match.
func (p metricsPage) Sum(name string, match labels) float64 {
	var sum float64
	for _, m := range p[name].GetMetric() {
		if labelsMatch(m, match) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}

// Has reports whether a sample matches.
func (p metricsPage) Has(name string, match labels) bool {
	for _, m := range p[name].GetMetric() {
		if labelsMatch(m, match) {
			return true
		}
	}
	return false
}

func labelsMatch(m *dto.Metric, match labels) bool {
	have := labels{}
	for _, pair := range m.GetLabel() {
		have[pair.GetName()] = pair.GetValue()
	}
	for name, value := range match {
		if have[name] != value {
			return false
		}
	}
	return true
}
