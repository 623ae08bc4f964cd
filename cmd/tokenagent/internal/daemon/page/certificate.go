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
	Listener, Fault string
	State           state
	ClientCerts     bool // are asked for
	Until           moment
	LastChange      moment
}

// endsSoon is how long before its end a certificate is worth a look: what renews it
// should have done so long before. The alert has the same.
const endsSoon = 3 * 24 * time.Hour

// newCertificates is nil where no listener has TLS.
func newCertificates(all []listener.Status, now time.Time) *certificates {
	if len(all) == 0 {
		return nil
	}
	v := &certificates{State: state{kindGood, "Good"}}
	for _, c := range all {
		one := certificate{
			Listener: c.Listener, Fault: c.Fault, State: state{kindGood, "Good"}, ClientCerts: c.ClientCerts,
			Until: moment{c.NotAfter, now}, LastChange: moment{c.LastChange, now},
		}
		switch {
		case one.Until.Over():
			one.State = state{kindBad, "Expired"}
		case !c.Good:
			one.State = state{kindBad, "Fault"}
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

// overall returns the state of the whole where no source is in a worse one.
func (v *certificates) overall(was state, says string) (state, string) {
	if v == nil || rank(v.State.Kind) <= rank(was.Kind) {
		return was, says
	}
	if v.State.Kind == kindWarn {
		return state{kindWarn, "Ready, with a warning"}, "Tokens are checked. A certificate ends soon: see below."
	}
	return state{kindBad, "Ready, with a fault"}, "Tokens are checked, but a certificate is bad: see below."
}
