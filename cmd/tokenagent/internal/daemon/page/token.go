package page

import (
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// A token is one token or key that is accepted.
type token struct {
	agent.TokenStatus
	Means                 string
	Since, Until, Expires moment
	Key, Say, Gone        string // for the script
}

func newToken(s agent.SourceStatus, t agent.TokenStatus, now time.Time) token {
	words := map[string]struct{ means, say string }{
		"current":  {"what senders send", "current now"},
		"next":     {"staged, not in use yet", "staged as next"},
		"listed":   {"accepted while listed", "listed now"},
		"previous": {"superseded, remembered", "superseded, and still accepted"},
	}[t.Slot]
	switch {
	case t.Slot == "current" && t.Algorithm != "":
		words.means = "what issuers sign with"
	case t.Slot == "previous" && t.Declared:
		words.means = "superseded, says the source"
	}
	name := s.Name + ": " + t.Fingerprint
	return token{
		TokenStatus: t, Means: words.means,
		Since: moment{t.Since, now}, Until: moment{t.Deadline, now}, Expires: moment{t.Expires, now},
		Key: s.Name + "|token|" + t.Fingerprint + "|" + t.KeyID,
		Say: name + " is " + words.say + ".", Gone: name + " is accepted no more.",
	}
}

// An overlap is a superseded token or key that is still accepted.
type overlap struct {
	agent.TokenStatus
	Noun                 string
	Until, Cap, LastUsed moment
	By                   string // the host that used it last; "" for unknown
	Slides               bool
	Lasting              string // what a restart makes of it
	Hurry                bool   // in use, and near its end
}

// near is how close to its end a use of the old token is a warning, and how old a
// use may be for that. docs/metrics.md alerts at the same.
const near = 5 * time.Minute

func newOverlap(s agent.SourceStatus, t agent.TokenStatus, noun string, now time.Time) overlap {
	o := overlap{
		TokenStatus: t, Noun: noun, Slides: !t.Waiting && !t.Cap.IsZero(),
		Until: moment{t.Deadline, now}, Cap: moment{t.Cap, now}, LastUsed: moment{t.LastUsed, now},
	}
	for _, u := range s.PreviousUsers { // the latest first
		if u.Fingerprint == t.Fingerprint || t.KeyID != "" && u.Fingerprint == t.KeyID {
			o.By = u.Host
			break
		}
	}
	switch {
	case t.Declared:
		o.Lasting = "The source declares it, so it outlives a restart of the agent."
	case s.StateFile == "":
		o.Lasting = "A restart of the agent ends it at once: there is no state file."
	case s.StateError != "":
		o.Lasting = "A restart of the agent may end it at once: the state file has a fault."
	default:
		o.Lasting = "The state file carries it through a restart."
	}
	end := t.Deadline
	if o.Slides { // a use extends it, up to the cap
		end = t.Cap
	}
	inUse := !t.LastUsed.IsZero() && now.Sub(t.LastUsed) < near
	o.Hurry = inUse && !t.Waiting && !end.IsZero() && end.Sub(now) < near
	return o
}
