package page

import (
	"fmt"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

func newToken(s agent.SourceStatus, t agent.TokenStatus, now time.Time) token {
	name := fmt.Sprintf("%s: %s", s.Name, t.Fingerprint)
	return token{
		Slot: t.Slot, Means: means(t), Fingerprint: t.Fingerprint, KeyID: t.KeyID, Algorithm: t.Algorithm,
		Since: moment{t.Since, now}, Until: moment{t.Deadline, now}, Expires: moment{t.Expires, now},
		Key: s.Name + "|token|" + t.Fingerprint + "|" + t.KeyID,
		Say: name + " is " + said(t.Slot) + ".", Gone: name + " is accepted no more.",
	}
}

// means explains a slot.
func means(t agent.TokenStatus) string {
	switch {
	case t.Slot == "current" && t.Algorithm != "":
		return "what issuers sign with"
	case t.Slot == "current":
		return "what senders send"
	case t.Slot == "next":
		return "staged, not in use yet"
	case t.Slot == "listed":
		return "accepted while listed"
	case t.Declared:
		return "superseded, says the source"
	default:
		return "superseded, remembered"
	}
}

func said(slot string) string {
	switch slot {
	case "next":
		return "staged as next"
	case "previous":
		return "superseded, and still accepted"
	default:
		return slot + " now"
	}
}

// An overlap is a superseded token or key that is still accepted.
type overlap struct {
	Noun, Fingerprint, KeyID string
	Until, Cap, LastUsed     moment
	By                       string // the host that used it last; "" for unknown
	Waits, Slides            bool
	Lasting                  string // what a restart makes of it
	Hurry                    bool   // in use, and near its end
}

// near is how close to its end a use of the old token is a warning, and how old a
// use may be for that. docs/metrics.md alerts at the same.
const near = 5 * time.Minute

func newOverlap(s agent.SourceStatus, t agent.TokenStatus, noun string, now time.Time) overlap {
	o := overlap{
		Noun: noun, Fingerprint: t.Fingerprint, KeyID: t.KeyID,
		Until: moment{t.Deadline, now}, LastUsed: moment{t.LastUsed, now},
		Waits: t.Waiting, Slides: !t.Waiting && !t.Cap.IsZero(),
	}
	if o.Slides {
		o.Cap = moment{t.Cap, now}
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
	case s.StateFault != "":
		o.Lasting = "A restart of the agent may end it at once: the state file has a fault."
	default:
		o.Lasting = "The state file carries it through a restart."
	}
	// A use puts off the end of one that slides, until its cap is near.
	end := t.Deadline
	if o.Slides {
		end = t.Cap
	}
	o.Hurry = !end.IsZero() && !t.Waiting && end.Sub(now) < near && !t.LastUsed.IsZero() && now.Sub(t.LastUsed) < near
	return o
}
