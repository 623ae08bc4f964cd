package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

func newSource(s agent.SourceStatus, now time.Time) source {
	at := func(t time.Time) moment { return moment{t, now} }
	v := source{
		Name: s.Name, Noun: noun(s), Kind: s.Kind, Location: s.Location, Watched: watched(s),
		LastRead: at(s.LastReloadSuccess), LastChange: at(s.LastChange), LastUsed: at(s.PreviousLastUsed),
		Generation: s.Generation, Rotations: times(s.Rotations), Revoked: s.Revoked, StateFile: s.StateFile,
	}
	superseded := make(map[string]bool)
	for i, t := range s.Tokens {
		v.Expire = v.Expire || !t.Expires.IsZero()
		if t.Slot == "previous" {
			superseded[t.Fingerprint] = true
			superseded[t.KeyID] = t.KeyID != ""
			v.Overlaps = append(v.Overlaps, newOverlap(s, t, v.Noun, now))
		}
		if i < maxTokens {
			v.Tokens = append(v.Tokens, newToken(s, t, now))
		}
	}
	v.Hidden = len(s.Tokens) - len(v.Tokens)
	for _, u := range s.PreviousUsers {
		one := user{
			Host: u.Host, Fingerprint: u.Fingerprint, First: at(u.First), Last: at(u.Last),
			Key: s.Name + "|user|" + u.Fingerprint + "|" + u.Host,
		}
		if superseded[u.Fingerprint] {
			v.Users = append(v.Users, one)
		} else {
			v.Past = append(v.Past, one)
		}
	}
	v.Problems = problems(s, v)
	v.State, v.Says = v.judge(s)
	return v
}

// noun returns what the source holds.
func noun(s agent.SourceStatus) string {
	if s.Kind == "key file" || s.Kind == "jwks url" {
		return "key"
	}
	return "token"
}

// problems lists what a person should know, the worst first.
func problems(s agent.SourceStatus, v source) (out []problem) {
	if s.Fault != "" {
		out = append(out, problem{kindBad, "Fault", s.Fault})
	}
	if s.StateFault != "" {
		out = append(out, problem{kindBad, "State file", s.StateFault})
	}
	for _, l := range s.Limits {
		out = append(out, problem{kindWarn, "Limit", l})
	}
	for _, o := range v.Overlaps {
		if o.Hurry {
			out = append(out, problem{kindWarn, "Cut-off", fmt.Sprintf("%s is still in use and ends soon: whoever sends it is refused then", o.Fingerprint)})
		}
	}
	for _, t := range s.Tokens {
		if !t.Expires.IsZero() && !t.Expires.After(v.LastRead.now) {
			out = append(out, problem{kindWarn, "Expired", fmt.Sprintf("%s (%s) is a JWT whose exp has passed: whoever checks that refuses it", t.Fingerprint, t.Slot)})
		}
	}
	return out
}

// judge says in a word and a sentence how the source is.
func (v source) judge(s agent.SourceStatus) (state, string) {
	switch {
	case !s.Ready && s.LastChange.IsZero():
		return state{kindBad, "Not loaded"}, "No good content has come yet. Until it does, nothing is accepted."
	case !s.Ready:
		return state{kindBad, "Not ready"}, "What was read last counts no more. Until good content comes, nothing is accepted."
	case len(s.Tokens) == 0:
		return state{kindBad, "Nothing accepted"}, "Every " + v.Noun + " is refused. Put a new one into the source."
	case s.Fault != "" || !s.LastReloadGood:
		return state{kindBad, "Fault"}, "The last read was bad. What was accepted before stays accepted, and a good read heals it."
	case s.StateFault != "":
		return state{kindBad, "Fault"}, "The source is good, but what is superseded or revoked may not outlive a restart."
	case len(v.Problems) > 0:
		return state{kindWarn, "Warning"}, v.accepted(s)
	case len(v.Overlaps) > 0:
		return state{kindMove, "Rotating"}, v.accepted(s)
	case strings.Contains(slots(s), "next"):
		return state{kindMove, "Staged"}, v.accepted(s)
	default:
		return state{kindGood, "Good"}, v.accepted(s)
	}
}

func slots(s agent.SourceStatus) string {
	var b strings.Builder
	for _, t := range s.Tokens {
		b.WriteString(t.Slot + " ")
	}
	return b.String()
}

// accepted sums up what is accepted.
func (v source) accepted(s agent.SourceStatus) string {
	n := map[string]int{}
	for _, t := range s.Tokens {
		n[t.Slot]++
	}
	var parts []string
	if n["current"] == 0 && v.Noun == "token" {
		parts = append(parts, "no current token")
	}
	for _, slot := range []struct{ name, word string }{
		{"current", "the current " + v.Noun}, {"next", "staged"}, {"previous", "superseded"}, {"listed", "listed"},
	} {
		switch count := n[slot.name]; {
		case count == 0:
		case slot.name == "current":
			parts = append(parts, slot.word)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", count, slot.word))
		}
	}
	return "Accepted: " + strings.Join(parts, ", ") + "."
}

func watched(s agent.SourceStatus) string {
	switch {
	case s.Kind == "jwks url":
		return "asked again when its answer is due"
	case s.WatchMode == "events":
		return "file system events, and polling"
	case s.WatchMode == "poll":
		return "polling alone"
	case s.WatchMode == "static":
		return "not at all: read at start and on SIGHUP"
	default:
		return s.WatchMode
	}
}

func times(n uint64) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	default:
		return fmt.Sprintf("%d times", n)
	}
}
