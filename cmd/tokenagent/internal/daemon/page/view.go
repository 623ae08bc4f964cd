package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// A view is a [realm.Status] in the words and the order of the page.
type view struct {
	Now           moment
	Host, Version string
	State         state
	Icon          template.URL
	Says          string
	Sources       []source
	Realms        *realms       // nil without a file of them
	Certificates  *certificates // nil without TLS
}

// realms is about the file of them.
type realms struct {
	File, Fault, Watched string
	Count                int
	LastRead, LastChange moment
}

// A state is how something is, in a word. The kind makes colour and sign, which
// say nothing that the word does not.
type state struct{ Kind, Word string }

// The kinds, the worst last.
const (
	kindGood = "good" // nothing to do
	kindMove = "move" // a rotation is under way
	kindWarn = "warn" // somebody should look
	kindBad  = "bad"  // somebody must
)

func rank(kind string) int { return strings.Index("good move warn bad", kind) }

// A source is one source of credentials.
type source struct {
	Name, Noun     string // Noun is what it holds: token or key
	Kind, Location string
	State          state
	Says           string
	Problems       []problem
	Overlaps       []overlap
	Tokens         []token
	Hidden         int // tokens beyond maxTokens
	Expire         bool
	Users, Past    []user // of what is accepted, and of what is not any more
	Watched        string
	LastRead       moment
	LastChange     moment
	LastUsed       moment
	Generation     uint64
	Rotations      string
	Revoked        int
	StateFile      string
	Hosts          []string // whose requests are decided by it; none without realms
}

// ID is the source's anchor, of characters that mean nothing in HTML and URLs.
func (v source) ID() string {
	var b strings.Builder
	b.WriteString("source-")
	for _, c := range []byte(v.Name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// Few returns the users that are shown at once, and More the others.
func (v source) Few() []user { return v.Users[:min(len(v.Users), maxUsers)] }

// More returns the users that Few leaves out.
func (v source) More() []user { return v.Users[len(v.Few()):] }

// A problem is something that a person should know.
type problem struct{ Kind, Label, Text string }

// A token is one token or key that is accepted.
type token struct {
	Slot, Means, Fingerprint, KeyID, Algorithm string
	Since, Until, Expires                      moment
	Key, Say, Gone                             string // for the script
}

// A user is a host that used a superseded token.
type user struct {
	Host, Fingerprint string
	First, Last       moment
	Key               string
}

// What is shown of much: a page is for reading, and /status has it all.
const (
	maxTokens = 50
	maxUsers  = 8
)

func newView(s realm.Status, host string, now time.Time) *view {
	v := &view{Now: moment{now, now}, Host: host, Version: s.Version}
	var worst, bad []string
	kind := kindGood
	hosts := make(map[string][]string)
	for _, r := range s.Realms {
		for _, name := range r.Sources {
			hosts[name] = r.Hosts
		}
	}
	for _, src := range s.Sources {
		view := newSource(src, now)
		view.Hosts = hosts[src.Name]
		v.Sources = append(v.Sources, view)
		switch k := view.State.Kind; {
		case rank(k) > rank(kind):
			kind, worst = k, []string{src.Name}
		case k == kind:
			worst = append(worst, src.Name)
		}
		if !src.Ready {
			bad = append(bad, src.Name)
		}
	}
	v.State, v.Says = overall(s, kind, worst, bad)
	if c := s.Config; c != nil {
		v.Realms = &realms{
			File: c.File, Fault: c.Fault, Watched: watched(agent.SourceStatus{WatchMode: c.WatchMode}), Count: len(s.Realms),
			LastRead: moment{c.LastSuccess, now}, LastChange: moment{c.LastChange, now},
		}
		if !c.Good && s.Ready {
			v.State, v.Says = state{kindBad, "Ready, with a fault"}, "Tokens are checked, by the realms that were in force before: their file is bad. See below."
		}
	}
	v.Certificates = newCertificates(s.Certificates, now)
	if s.Ready {
		v.State, v.Says = v.Certificates.overall(v.State, v.Says)
	}
	v.Icon = icon(v.State.Kind)
	return v
}

// overall is the state of the whole, as /readyz tells it, and below that the
// worst of the sources'.
func overall(s realm.Status, kind string, worst, bad []string) (state, string) {
	switch {
	case s.Draining:
		return state{kindWarn, "Draining"}, "The agent is about to end: it finishes what has begun, and /readyz says no."
	case !s.Ready && len(bad) == len(s.Sources) && len(bad) > 0:
		return state{kindBad, "Not ready"}, "Every request is refused with 503 until good content comes: see to " + list(bad) + "."
	case !s.Ready && len(bad) > 0:
		return state{kindBad, "Not ready"}, "Requests that " + list(bad) + " would have to accept are refused with 503. See to that."
	case !s.Ready:
		return state{kindBad, "Not ready"}, "The agent has ended: every request is refused."
	case kind == kindBad:
		return state{kindBad, "Ready, with a fault"}, "Tokens are checked, but not all is well. See to " + list(worst) + "."
	case kind == kindWarn:
		return state{kindWarn, "Ready, with a warning"}, "Tokens are checked. Have a look at " + list(worst) + "."
	case kind == kindMove:
		return state{kindMove, "Ready, rotating"}, "Tokens are checked. A rotation is under way: " + list(worst) + "."
	default:
		return state{kindGood, "Ready"}, "Tokens are checked, and nothing needs you."
	}
}

// list joins names, and counts those that would be too many.
func list(names []string) string {
	const most = 6
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// icon returns a picture for the browser's tab. Its shape differs, too.
func icon(kind string) template.URL {
	shape := map[string]string{
		kindGood: "%3Ccircle cx='8' cy='8' r='7' fill='%23188a4e'/%3E%3Cpath d='M4.5 8.2l2.4 2.4 4.6-5' stroke='%23fff' stroke-width='2' fill='none'/%3E",
		kindMove: "%3Ccircle cx='8' cy='8' r='6' stroke='%232b66d9' stroke-width='3' fill='none'/%3E%3Cpath d='M8 4.5V8l2.5 1.8' stroke='%232b66d9' stroke-width='2' fill='none'/%3E",
		kindWarn: "%3Cpath d='M8 1l7.5 14H.5z' fill='%23c97a00'/%3E%3Cpath d='M8 6v4m0 1.5v2' stroke='%23fff' stroke-width='2'/%3E",
		kindBad:  "%3Crect width='16' height='16' rx='3' fill='%23c5161d'/%3E%3Cpath d='M4.5 4.5l7 7m0-7l-7 7' stroke='%23fff' stroke-width='2.4'/%3E",
	}[kind]
	//nolint:gosec // of the four above
	return template.URL("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" + shape + "%3C/svg%3E")
}
