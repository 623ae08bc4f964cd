package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/clients"
)

func newSource(s agent.SourceStatus, now time.Time) source {
	at := func(t time.Time) moment { return moment{t, now} }
	v := source{
		SourceStatus: s, Noun: "token",
		LastRead: at(s.LastReloadSuccess), LastChange: at(s.LastChange), LastUsed: at(s.PreviousLastUsed),
	}
	if slices.Contains([]string{"key file", "jwks url", "discovery", "kubernetes"}, s.Kind) {
		v.Noun = "key"
	}
	superseded := make(map[string]bool)
	groups := clients.Group(s.Tokens, now)
	v.Clients = clients.Summary(groups)
	var rows []token
	for _, c := range groups {
		for i, t := range c.Tokens {
			v.Expire = v.Expire || !t.Expires.IsZero()
			if t.Slot == "previous" {
				superseded[t.Fingerprint] = true
				superseded[t.KeyID] = t.KeyID != ""
				v.Overlaps = append(v.Overlaps, newOverlap(s, t, now))
			}
			rows = append(rows, token{
				TokenStatus: t, Since: at(t.Since), Until: at(t.Deadline), Expires: at(t.Expires), LastUsed: at(t.LastUsed),
				Again: i > 0, Unused: c.Need == clients.Unused, Count: clients.Count(t.Uses, "use"),
			})
		}
	}
	v.Tokens = rows[:min(len(rows), maxTokens)]
	if v.Clients != "" {
		v.Folded = rows[len(v.Tokens):min(len(rows), maxTokens+maxFolded)]
	}
	v.Hidden = len(rows) - len(v.Tokens) - len(v.Folded)
	for _, u := range s.PreviousUsers {
		one := user{PreviousUser: u, First: at(u.First), Last: at(u.Last), Key: strings.Join([]string{s.Name, "user", u.Client, u.Fingerprint, u.Host}, "|")}
		if superseded[u.Fingerprint] {
			v.Users = append(v.Users, one)
		} else {
			v.Past = append(v.Past, one)
		}
	}
	v.Problems = v.problems(now)
	v.State, v.Says = v.judge()
	v.MoreOverlaps = max(len(v.Overlaps)-maxOverlaps, 0)
	v.Overlaps = v.Overlaps[:len(v.Overlaps)-v.MoreOverlaps]
	return v
}

// problems returns the errors of the source, then its warnings.
func (v source) problems(now time.Time) (all []problem) {
	if v.Error != "" {
		all = append(all, problem{kindBad, "Error", v.Error})
	}
	if v.StateError != "" {
		all = append(all, problem{kindBad, "State file", v.StateError})
	}
	for _, l := range v.Limits {
		all = append(all, problem{kindWarn, "Limit", l})
	}
	for _, o := range v.Overlaps {
		if o.Hurry {
			all = append(all, problem{kindWarn, "Cut-off", fmt.Sprintf("%s%s is still in use and ends soon; its senders are refused then", o.Fingerprint, of(o.Client))})
		}
	}
	for _, t := range v.SourceStatus.Tokens {
		if !t.Expires.IsZero() && !t.Expires.After(now) {
			all = append(all, problem{kindWarn, "Expired", fmt.Sprintf("%s%s (%s) is a JWT whose exp has passed; receivers that check exp refuse it", t.Fingerprint, of(t.Client), t.Slot)})
		}
	}
	if more := len(all) - maxProblems; more > 0 {
		all = append(all[:maxProblems], problem{kindWarn, "More", fmt.Sprintf("%d more warnings; see below and /status", more)})
	}
	return all
}

// of returns " of " and the client, or "" for the unnamed client.
func of(client string) string {
	if client == "" {
		return ""
	}
	return " of " + client
}

// judge describes the state of the source in a word and a sentence.
func (v source) judge() (state, string) {
	count := make(map[string]int)
	for _, t := range v.SourceStatus.Tokens {
		count[t.Slot]++
	}
	accepted := v.accepted(count)
	switch {
	case !v.Ready && v.SourceStatus.LastChange.IsZero():
		return state{kindBad, "Not loaded"}, "No good content has been read yet. Nothing is accepted until then."
	case !v.Ready:
		return state{kindBad, "Not ready"}, "The last good content is no longer in force. Nothing is accepted until good content is read."
	case len(v.Tokens) == 0:
		return state{kindBad, "Nothing accepted"}, "Every " + v.Noun + " is refused. Put a new one into the source."
	case v.Error != "" || !v.LastReloadGood:
		return state{kindBad, "Error"}, "The last read failed. What was accepted before stays accepted until a read succeeds."
	case v.StateError != "":
		return state{kindBad, "Error"}, "The source is good, but a restart may lose superseded and revoked " + v.Noun + "s."
	case len(v.Problems) > 0:
		return state{kindWarn, "Warning"}, accepted
	case len(v.Overlaps) > 0:
		return state{kindMove, "Rotating"}, accepted
	case count["next"] > 0:
		return state{kindMove, "Staged"}, accepted
	default:
		return state{kindGood, "Good"}, accepted
	}
}

// accepted returns a sentence about the accepted tokens. count has their number by slot.
func (v source) accepted(count map[string]int) string {
	var parts []string
	switch n := count["current"]; {
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d current", n))
	case n == 1:
		parts = append(parts, "the current "+v.Noun)
	case v.Noun == "token":
		parts = append(parts, "no current token")
	}
	for _, slot := range []struct{ name, word string }{{"next", "staged"}, {"previous", "superseded"}, {"listed", "listed"}} {
		if n := count[slot.name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, slot.word))
		}
	}
	return "Accepted: " + strings.Join(parts, ", ") + "."
}

// A token is an accepted token or key.
type token struct {
	agent.TokenStatus
	Since, Until, Expires, LastUsed moment
	Count                           string // such as "3 uses"
	Again                           bool   // whether the previous row has the same client
	Unused                          bool   // whether its client has used no token for a month
}

// An overlap is a superseded token or key that is still accepted.
type overlap struct {
	agent.TokenStatus
	Until, Cap, LastUsed moment
	By                   string // the host that used it last; "" if unknown
	Slides               bool
	Hurry                bool // it was used a short time ago and ends soon
}

// near is the time in which an overlap "ends soon", and the age of a use "a short time
// ago". The alerts in docs/metrics.md use the same time.
const near = 5 * time.Minute

func newOverlap(s agent.SourceStatus, t agent.TokenStatus, now time.Time) overlap {
	o := overlap{
		TokenStatus: t, Slides: !t.Waiting && !t.Cap.IsZero(),
		Until: moment{t.Deadline, now}, Cap: moment{t.Cap, now}, LastUsed: moment{t.LastUsed, now},
	}
	isUser := func(u agent.PreviousUser) bool {
		return u.Fingerprint == t.Fingerprint || t.KeyID != "" && u.Fingerprint == t.KeyID
	}
	if i := slices.IndexFunc(s.PreviousUsers, isUser); i >= 0 { // sorted by last use, the latest first
		o.By = s.PreviousUsers[i].Host
	}
	end := t.Deadline
	if o.Slides { // a use extends it, up to the cap
		end = t.Cap
	}
	inUse := !t.LastUsed.IsZero() && now.Sub(t.LastUsed) < near
	o.Hurry = inUse && !t.Waiting && !end.IsZero() && end.Sub(now) < near
	return o
}
