package page

import (
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// certificates are those of the listeners with TLS.
type certificates struct {
	State state // the worst of all
	All   []certificate
}

// A certificate is a listener's.
type certificate struct {
	listener.Status
	State             state
	Until, LastChange moment
}

// endsSoon is how long before its end a certificate needs a look: it should have been
// renewed long before. The alert uses the same time.
const endsSoon = 3 * 24 * time.Hour

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
		case c.NotAfter.Sub(now) < endsSoon:
			one.State = state{kindWarn, "Ends soon"}
		}
		if rank(one.State.Kind) > rank(v.State.Kind) {
			v.State = one.State
		}
		v.All = append(v.All, one)
	}
	return v
}
