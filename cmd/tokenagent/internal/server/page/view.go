package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// A view holds what the page shows of a [realm.Status].
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

// A state is a condition in a word. Its kind selects the colour and the icon.
type state struct{ Kind, Word string }

// The kinds, from good to bad.
const (
	kindGood = "good" // nothing to do
	kindMove = "move" // a rotation is under way
	kindWarn = "warn" // an operator should look
	kindBad  = "bad"  // an operator must act
)

func rank(kind string) int {
	return slices.Index([]string{kindGood, kindMove, kindWarn, kindBad}, kind)
}

// A source is one source of credentials.
type source struct {
	agent.SourceStatus
	Noun                           string // "token" or "key"
	State                          state
	Says                           string
	Problems                       []problem
	Overlaps                       []overlap
	MoreOverlaps                   int     // beyond maxOverlaps
	Clients                        string  // summary of the named clients; "" without any
	Tokens, Folded                 []token // shown at once, and folded
	Hidden                         int     // number of tokens in neither
	Expire                         bool    // whether any token has an exp
	Users, Past                    []user  // of superseded tokens that are still accepted, and of others
	LastRead, LastChange, LastUsed moment
	Hosts                          []string // whose requests use this source; none without realms
}

// ID returns the anchor of the source. Hex digits need no escaping in HTML and URLs.
func (v source) ID() string { return fmt.Sprintf("source-%x", v.Name) }

// A tokenTable is a table of accepted tokens.
type tokenTable struct {
	Source        string
	Named, Expire bool // whether the table has columns for the client and for the exp
	Rows          []token
}

func (v source) table(rows []token) tokenTable {
	return tokenTable{Source: v.Name, Named: v.Clients != "", Expire: v.Expire, Rows: rows}
}

// Shown returns the table of Tokens.
func (v source) Shown() tokenTable { return v.table(v.Tokens) }

// Rest returns the table of Folded.
func (v source) Rest() tokenTable { return v.table(v.Folded) }

// A userTable is a table of hosts.
type userTable struct {
	Named bool // whether the table has a column for the client
	Rows  []user
}

func newUserTable(rows []user) *userTable {
	if len(rows) == 0 {
		return nil
	}
	return &userTable{slices.ContainsFunc(rows, func(u user) bool { return u.Client != "" }), rows}
}

// Few returns the users that are shown at once.
func (v source) Few() *userTable { return newUserTable(v.Users[:min(len(v.Users), maxUsers)]) }

// More returns the users that Few leaves out.
func (v source) More() *userTable { return newUserTable(v.Users[min(len(v.Users), maxUsers):]) }

// PastUsers returns the users of tokens that are no longer accepted.
func (v source) PastUsers() *userTable { return newUserTable(v.Past) }

// A problem is an error or a warning about a source.
type problem struct{ Kind, Label, Text string }

// A user is a host that used a superseded token.
type user struct {
	agent.PreviousUser
	First, Last moment
	Key         string // identifies the row for the script
}

// The page shows at most so many of each. /status has all of them.
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
			v.State, v.Says = state{kindBad, "Ready, with an error"}, "Tokens are checked by the realms that were in force before, because the file of realms has an error. See below."
		}
	}
	v.Certificates = newCertificates(s.Certificates, now)
	if c := v.Certificates; c != nil && s.Ready && rank(c.State.Kind) > rank(v.State.Kind) {
		v.State, v.Says = state{kindBad, "Ready, with an error"}, "Tokens are checked, but a certificate has an error. See below."
		if c.State.Kind == kindWarn {
			v.State, v.Says = state{kindWarn, "Ready, with a warning"}, "Tokens are checked. A certificate expires soon. See below."
		}
	}
	return v
}

// overall returns the state of the agent, and a sentence about it. An agent that is not
// ready says so; otherwise the worst state of a source counts.
func overall(s realm.Status, kind string, worst, notReady []string) (state, string) {
	switch {
	case s.Draining:
		return state{kindWarn, "Draining"}, "The agent is shutting down. It finishes open requests, and /readyz answers 503."
	case !s.Ready && len(notReady) == len(s.Sources) && len(notReady) > 0:
		return state{kindBad, "Not ready"}, "Every request is refused with 503 until a source is loaded. Check " + list(notReady) + "."
	case !s.Ready && len(notReady) > 0:
		return state{kindBad, "Not ready"}, "Requests that need " + list(notReady) + " are refused with 503. Check each of these sources."
	case !s.Ready:
		return state{kindBad, "Not ready"}, "The agent is closed. Every request is refused."
	case kind == kindBad:
		return state{kindBad, "Ready, with an error"}, "Tokens are checked, but a source has an error. Check " + list(worst) + "."
	case kind == kindWarn:
		return state{kindWarn, "Ready, with a warning"}, "Tokens are checked. There is a warning about " + list(worst) + "."
	case kind == kindMove:
		return state{kindMove, "Ready, rotating"}, "Tokens are checked. A rotation is under way: " + list(worst) + "."
	default:
		return state{kindGood, "Ready"}, "Tokens are checked. There is nothing to do."
	}
}

// list joins names. If there are more than most, it counts the others.
func list(names []string) string {
	const most = 6
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
