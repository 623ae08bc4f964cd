package listener

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// All are the certificates of a process, of each listener that has TLS.
type All []*Certificates

// OpenInto opens the certificates of the listener called name, and adds them to a.
// They are nil where f is not given. prefix is that of the flags, for the error. ctx
// bounds the first read alone.
func OpenInto(ctx context.Context, a *All, name, prefix string, f Files, o reload.Options) (*Certificates, error) {
	if !f.Given() {
		return nil, nil //nolint:nilnil // no TLS is no fault
	}
	c, err := OpenCertificates(ctx, name, f, o)
	if err != nil {
		return nil, fmt.Errorf("--%stls-*-file: %w", prefix, err)
	}
	*a = append(*a, c)
	return c, nil
}

// Close stops following the files of all.
func (a All) Close() {
	for _, c := range a {
		c.Close()
	}
}

// Status returns how each is.
func (a All) Status() []Status {
	var out []Status
	for _, c := range a {
		out = append(out, c.Status())
	}
	return out
}

// Describe implements [prometheus.Collector].
func (a All) Describe(ch chan<- *prometheus.Desc) {
	ch <- descExpires
	ch <- descGood
}

// Collect implements [prometheus.Collector].
func (a All) Collect(ch chan<- prometheus.Metric) {
	for _, c := range a {
		c.collect(ch)
	}
}
