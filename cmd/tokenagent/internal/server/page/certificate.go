package page

import (
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// certificates holds the certificates of the listeners with TLS.
type certificates struct {
	State state // the worst state of All
	All   []certificate
}

// A certificate is the certificate of one listener.
type certificate struct {
	listener.Status
	State             state
	Until, LastChange moment
}

// expiresSoon is how long before its expiry a certificate is a warning. It should have
// been renewed long before. The alert uses the same time.
const expiresSoon = 3 * 24 * time.Hour

// newCertificates returns nil if no listener has TLS.
func newCertificates(all []listener.Status, now time.Time) *certificates {
	if len(all) == 0 {
		return nil
	}
	good := state{kindGood, "Good"}
	v := &certificates{State: good}
	for _, c := range all {
		one := certificate{Status: c, State: good, Until: moment{c.NotAfter, now}, LastChange: moment{c.LastChange, now}}
		switch {
		case one.Until.Over():
			one.State = state{kindBad, "Expired"}
		case !c.Good:
			one.State = state{kindBad, "Error"}
		case c.NotAfter.Sub(now) < expiresSoon:
			one.State = state{kindWarn, "Expires soon"}
		}
		if rank(one.State.Kind) > rank(v.State.Kind) {
			v.State = one.State
		}
		v.All = append(v.All, one)
	}
	return v
}
