package listener

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Status describes a listener's certificates.
type Status struct {
	Listener    string    `json:"listener"`
	NotAfter    time.Time `json:"not_after"`              // of the certificate in use
	ClientCerts bool      `json:"client_certs"`           // whether clients need one
	Good        bool      `json:"last_reload_successful"` // of all files
	LastChange  time.Time `json:"last_change"`            // of any of the files
	Error       string    `json:"fault,omitempty"`        // of the last read, with its fix
}

// Status returns the state of the certificates.
func (c *Certificates) Status() Status {
	stats, config := c.config.Stats(), c.config.Load()
	s := Status{
		Listener: c.name, NotAfter: config.Certificates[0].Leaf.NotAfter.UTC(), ClientCerts: config.ClientCAs != nil,
		Good: stats.LastError == nil, LastChange: stats.LastChange.UTC().Round(0),
	}
	if stats.LastError != nil {
		s.Error = stats.LastError.Error()
	}
	return s
}

// Metrics returns the metrics of the certificates.
func (c *Certificates) Metrics() []prometheus.Collector {
	gauge := func(name, help string, value func(Status) float64) prometheus.Collector {
		o := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"listener": c.name}}
		return prometheus.NewGaugeFunc(o, func() float64 { return value(c.Status()) })
	}
	return []prometheus.Collector{
		gauge("tokenagent_tls_certificate_expires_timestamp_seconds", "When the certificate in use expires, as Unix time.",
			func(s Status) float64 { return float64(s.NotAfter.Unix()) }),
		gauge("tokenagent_tls_last_reload_successful", "Whether the files of the certificate, and of the client CA, were good when they were last read (1) or not (0).",
			func(s Status) float64 {
				if s.Good {
					return 1
				}
				return 0
			}),
	}
}
