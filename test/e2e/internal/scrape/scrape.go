// Package scrape reads a metrics page the way that Prometheus does.
package scrape

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A Page is one scrape.
type Page map[string]*dto.MetricFamily

// Labels select the samples that have all of these values.
type Labels map[string]string

// Parse reads a page in the text format.
func Parse(tb testing.TB, text string) Page {
	tb.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		tb.Fatalf("metrics page: %v", err)
	}
	return families
}

// Sum adds the values of the samples of a counter or gauge that match.
func (p Page) Sum(name string, match Labels) float64 {
	var sum float64
	for _, m := range p[name].GetMetric() {
		if matches(m, match) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}

// Has reports whether a sample matches.
func (p Page) Has(name string, match Labels) bool {
	for _, m := range p[name].GetMetric() {
		if matches(m, match) {
			return true
		}
	}
	return false
}

func matches(m *dto.Metric, match Labels) bool {
	have := Labels{}
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
