package listener

import (
	"errors"
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

//nolint:gochecknoglobals // constants, which the language cannot express
var (
	descExpires = prometheus.NewDesc("tokenagent_tls_certificate_expires_timestamp_seconds", "When the certificate in use expires, as Unix time.", []string{"listener"}, nil)
	descGood    = prometheus.NewDesc("tokenagent_tls_last_reload_successful", "Whether the files of the certificate, and of the client CA, were good when they were last read (1) or not (0).", []string{"listener"}, nil)
)

// All are the certificates of a process, one for each listener with TLS.
type All []*Certificates

// Close stops watching the files of all.
func (a All) Close() {
	for _, c := range a {
		c.Close()
	}
}

// Reload reloads each, also after an error.
func (a All) Reload() (changed bool, err error) {
	for _, c := range a {
		oneChanged, oneErr := c.Reload()
		changed, err = changed || oneChanged, errors.Join(err, oneErr)
	}
	return changed, err
}

// Status returns the state of each.
func (a All) Status() (all []Status) {
	for _, c := range a {
		all = append(all, c.Status())
	}
	return all
}

// Describe implements [prometheus.Collector].
func (a All) Describe(ch chan<- *prometheus.Desc) {
	ch <- descExpires
	ch <- descGood
}

// Collect implements [prometheus.Collector].
func (a All) Collect(ch chan<- prometheus.Metric) {
	for _, s := range a.Status() {
		good := 0.0
		if s.Good {
			good = 1
		}
		ch <- prometheus.MustNewConstMetric(descExpires, prometheus.GaugeValue, float64(s.NotAfter.Unix()), s.Listener)
		ch <- prometheus.MustNewConstMetric(descGood, prometheus.GaugeValue, good, s.Listener)
	}
}
