package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// A view is what the page shows of a [realm.Status].
type view struct {
	Now           moment
	Host, Version string
	State         state
	Says          string
	Sources       []source
	Realms        *realms       // nil without a realms file
	Certificates  *certificates // nil without TLS
}

// realms describes the realms file.
type realms struct {
	*realm.ConfigStatus
	Count                int
	LastRead, LastChange moment
}

// A state is a condition in a word, and the kind of condition, which chooses the colour
// and the sign beside the word.
type state struct{ Kind, Word string }

// The kinds, the worst last.
const (
	kindGood = "good" // nothing to do
	kindMove = "move" // a rotation is under way
	kindWarn = "warn" // somebody should look
	kindBad  = "bad"  // somebody must act
)

func rank(kind string) int {
	return slices.Index([]string{kindGood, kindMove, kindWarn, kindBad}, kind)
}

// A source is one source of credentials.
type source struct {
	agent.SourceStatus
	Noun                           string // what it holds: token or key
	State                          state
	Says                           string
	Problems                       []problem
	Overlaps                       []overlap
	MoreOverlaps                   int     // beyond maxOverlaps
	Clients                        string  // sums up the named clients; "" without any
	Tokens, Folded                 []token // those shown at once, and those that can be unfolded
	Hidden                         int     // tokens that are neither
	Expire                         bool    // whether any token has an exp
	Users, Past                    []user  // of tokens that are still accepted, and of others
	LastRead, LastChange, LastUsed moment
	Hosts                          []string // whose requests it decides; none without realms
}

// ID is the source's anchor. Hex digits mean nothing in HTML and URLs.
func (v source) ID() string { return fmt.Sprintf("source-%x", v.Name) }

// A tokenTable is a table of accepted tokens.
type tokenTable struct {
	Source        string
	Named, Expire bool // whether there are columns for clients and for the exp
	Rows          []token
}

func (v source) table(rows []token) tokenTable {
	return tokenTable{Source: v.Name, Named: v.Clients != "", Expire: v.Expire, Rows: rows}
}

// Shown returns the table of the tokens that are shown at once.
func (v source) Shown() tokenTable { return v.table(v.Tokens) }

// Rest returns the table of the tokens that can be unfolded.
func (v source) Rest() tokenTable { return v.table(v.Folded) }

// A userTable is a table of hosts.
type userTable struct {
	Named bool // whether there is a column for clients
	Rows  []user
}

func newUserTable(rows []user) *userTable {
	if len(rows) == 0 {
		return nil
	}
	return &userTable{slices.ContainsFunc(rows, func(u user) bool { return u.Client != "" }), rows}
}

// Few returns the users that are shown at once, and More the others.
func (v source) Few() *userTable { return newUserTable(v.Users[:min(len(v.Users), maxUsers)]) }

// More returns the users that Few leaves out.
func (v source) More() *userTable { return newUserTable(v.Users[min(len(v.Users), maxUsers):]) }

// PastUsers returns the users of tokens that are accepted no more.
func (v source) PastUsers() *userTable { return newUserTable(v.Past) }

// A problem is something that a person should know.
type problem struct{ Kind, Label, Text string }

// A user is a host that used a superseded token.
type user struct {
	agent.PreviousUser
	First, Last moment
	Key         string // for the script
}

// Limits of what the page shows at once. /status has all.
const (
	maxTokens   = 50
	maxFolded   = 250 // tokens of named clients
	maxOverlaps = 8
	maxUsers    = 8
	maxProblems = 20
)

func newView(s realm.Status, host string, now time.Time) *view {
	v := &view{Now: moment{now, now}, Host: host, Version: s.Version}
	hosts := make(map[string][]string)
	for _, r := range s.Realms {
		for _, name := range r.Sources {
			hosts[name] = r.Hosts
		}
	}
	kind := kindGood
	var worst, notReady []string
	for _, status := range s.Sources {
		src := newSource(status, now)
		src.Hosts = hosts[src.Name]
		v.Sources = append(v.Sources, src)
		switch k := src.State.Kind; {
		case rank(k) > rank(kind):
			kind, worst = k, []string{src.Name}
		case k == kind:
			worst = append(worst, src.Name)
		}
		if !src.Ready {
			notReady = append(notReady, src.Name)
		}
	}
	v.State, v.Says = overall(s, kind, worst, notReady)
	if c := s.Config; c != nil {
		v.Realms = &realms{
			ConfigStatus: c, Count: len(s.Realms),
			LastRead: moment{c.LastSuccess, now}, LastChange: moment{c.LastChange, now},
		}
		if !c.Good && s.Ready {
			v.State, v.Says = state{kindBad, "Ready, with an error"}, "Tokens are checked, by the realms that were in force before: their file is bad. See below."
		}
	}
	v.Certificates = newCertificates(s.Certificates, now)
	if c := v.Certificates; c != nil && s.Ready && rank(c.State.Kind) > rank(v.State.Kind) {
		v.State, v.Says = state{kindBad, "Ready, with an error"}, "Tokens are checked, but a certificate is bad: see below."
		if c.State.Kind == kindWarn {
			v.State, v.Says = state{kindWarn, "Ready, with a warning"}, "Tokens are checked. A certificate ends soon: see below."
		}
	}
	return v
}

// overall is the state of the whole: what /readyz says, and then the worst state of a
// source.
func overall(s realm.Status, kind string, worst, notReady []string) (state, string) {
	switch {
	case s.Draining:
		return state{kindWarn, "Draining"}, "The agent is about to end: it finishes what has begun, and /readyz says no."
	case !s.Ready && len(notReady) == len(s.Sources) && len(notReady) > 0:
		return state{kindBad, "Not ready"}, "Every request is refused with 503 until good content comes: see to " + list(notReady) + "."
	case !s.Ready && len(notReady) > 0:
		return state{kindBad, "Not ready"}, "Requests that " + list(notReady) + " would have to accept are refused with 503. See to that."
	case !s.Ready:
		return state{kindBad, "Not ready"}, "The agent has ended: every request is refused."
	case kind == kindBad:
		return state{kindBad, "Ready, with an error"}, "Tokens are checked, but not all is well. See to " + list(worst) + "."
	case kind == kindWarn:
		return state{kindWarn, "Ready, with a warning"}, "Tokens are checked. Have a look at " + list(worst) + "."
	case kind == kindMove:
		return state{kindMove, "Ready, rotating"}, "Tokens are checked. A rotation is under way: " + list(worst) + "."
	default:
		return state{kindGood, "Ready"}, "Tokens are checked, and nothing needs you."
	}
}

// list joins at most so many names, and counts the others.
func list(names []string) string {
	const most = 6
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
