package listener

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Status says how a listener's certificates are.
type Status struct {
	Listener    string    `json:"listener"`
	NotAfter    time.Time `json:"not_after"`              // of the certificate in force
	ClientCerts bool      `json:"client_certs"`           // are asked for
	Good        bool      `json:"last_reload_successful"` // of all files
	LastChange  time.Time `json:"last_change"`            // of the certificate, or of the roots of clients
	Fault       string    `json:"fault,omitempty"`        // of the last read, with its mend
}

// Status returns how the certificates are now.
func (c *Certificates) Status() Status {
	stats := c.pair.Stats()
	s := Status{Listener: c.name, NotAfter: c.pair.Load().until.UTC(), Good: true, LastChange: stats.LastChange.UTC().Round(0)}
	err := stats.LastError
	if c.clients != nil {
		more := c.clients.Stats()
		s.ClientCerts = true
		if err == nil {
			err = more.LastError
		}
		if at := more.LastChange.UTC().Round(0); at.After(s.LastChange) {
			s.LastChange = at
		}
	}
	if err != nil {
		s.Good, s.Fault = false, err.Error()
	}
	return s
}

//nolint:gochecknoglobals // constants, which the language cannot say
var (
	descExpires = prometheus.NewDesc("tokenagent_tls_certificate_expires_timestamp_seconds", "When the certificate in force ends, as Unix time.", []string{"listener"}, nil)
	descGood    = prometheus.NewDesc("tokenagent_tls_last_reload_successful", "Whether the files of the certificate, and of the roots of clients, were good when they were last read (1) or not (0).", []string{"listener"}, nil)
)

func (c *Certificates) collect(ch chan<- prometheus.Metric) {
	s, good := c.Status(), 0.0
	if s.Good {
		good = 1
	}
	ch <- prometheus.MustNewConstMetric(descExpires, prometheus.GaugeValue, float64(s.NotAfter.Unix()), c.name)
	ch <- prometheus.MustNewConstMetric(descGood, prometheus.GaugeValue, good, c.name)
}
