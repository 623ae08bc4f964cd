// Package gate holds a rotation back until running agents are ready for it.
package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

const (
	askTimeout = 5 * time.Second // for one answer
	pollEvery  = time.Second     // between two rounds
	together   = 16              // agents asked at once
	maxHosts   = 5               // named in one line
)

// A Gate asks agents until all of them are ready. The zero Gate has no agents
// and is open.
type Gate struct {
	Agents []string      // the URLs of their admin ports
	Source string        // the name of the source that is meant; "" means any
	Wait   time.Duration // how long to go on asking; 0 asks once
	// Ask is how an agent is asked; nil means statusclient.Ask.
	Ask func(ctx context.Context, url string) (statusclient.Answer, error)
}

// A Check says in words why an agent is not ready, and "" if it is. sources are
// those that the gate is about, one at least; at is the agent's time.
type Check func(sources []agent.SourceStatus, at time.Time) string

// Pass returns nil once every agent has passed check in one round. The error
// names all that have not.
func (g Gate) Pass(ctx context.Context, check Check) error {
	if len(g.Agents) == 0 {
		return nil
	}
	end := time.Now().Add(g.Wait)
	for {
		lag := g.round(ctx, check)
		if len(lag) == 0 {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			return g.refusal(lag, false)
		}
		t := time.NewTimer(min(pollEvery, left))
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%w while waiting: %w", exitcode.Interrupted, g.refusal(lag, true))
		case <-t.C:
		}
	}
}

func (g Gate) refusal(lag []string, interrupted bool) error {
	advice := "try again later, or let --wait DURATION do that"
	if g.Wait > 0 && !interrupted {
		advice = fmt.Sprintf("--wait %s was not enough; see to the agents, or wait longer", g.Wait)
	}
	return fmt.Errorf("%d of %d agents not ready for this: %s; nothing was changed; %s", len(lag), len(g.Agents), strings.Join(lag, "; "), advice)
}

// round asks all agents once and returns what those say that are not ready, in
// the agents' order.
func (g Gate) round(ctx context.Context, check Check) []string {
	says := make([]string, len(g.Agents))
	places := make(chan struct{}, together)
	var asked sync.WaitGroup
	for i, url := range g.Agents {
		places <- struct{}{}
		asked.Go(func() {
			defer func() { <-places }()
			if why := g.one(ctx, url, check); why != "" {
				says[i] = url + ": " + why
			}
		})
	}
	asked.Wait()
	return slices.DeleteFunc(says, func(s string) bool { return s == "" })
}

func (g Gate) one(ctx context.Context, url string, check Check) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ask := g.Ask
	if ask == nil {
		ask = statusclient.Ask
	}
	a, err := ask(ctx, url)
	if err != nil {
		return termsafe.Text(err.Error())
	}
	sources := a.Status.Sources
	if g.Source != "" {
		sources = slices.DeleteFunc(slices.Clone(sources), func(s agent.SourceStatus) bool { return s.Name != g.Source })
	}
	if len(sources) == 0 {
		return "it has no such source; --source must be the name that its configuration gives"
	}
	return termsafe.Text(check(sources, a.At)) // the agent's words
}

// Loaded is passed by an agent of which sources accept each of the tokens or keys
// fingerprints without a deadline: as next, current or listed.
func Loaded(fingerprints ...string) Check {
	return func(sources []agent.SourceStatus, _ time.Time) string {
		loaded, faults := map[string]bool{}, []string(nil)
		for _, s := range sources {
			for _, t := range s.Tokens {
				loaded[t.Fingerprint] = loaded[t.Fingerprint] || t.Slot != "previous"
			}
			faults = append(faults, s.Fault)
		}
		for _, f := range fingerprints {
			if !loaded[f] {
				return "it has not loaded " + f + because(faults...)
			}
		}
		return ""
	}
}

// maxIdle bounds the idle time that Unused takes where none is given.
const maxIdle = 15 * time.Minute

// Unused is passed by an agent that has the token current as its current one,
// and for idle has seen no use of those in previous, all of them fingerprints.
// An agent that has not watched for so long, as after its restart, cannot know.
// Idle 0 means 15 minutes, but no more than half the time that the agent accepts
// the old token for, so that the gate can open before that is over.
func Unused(current string, previous []string, idle time.Duration) Check {
	return func(sources []agent.SourceStatus, at time.Time) string {
		has := false
		var faults []string
		for _, s := range sources {
			for _, t := range s.Tokens {
				old := slices.Contains(previous, t.Fingerprint)
				switch {
				case t.Slot == "current" && t.Fingerprint == current:
					has = true
				case old && t.Slot != "previous":
					return fmt.Sprintf("it still has %s as %s%s", t.Fingerprint, t.Slot, because(s.Fault))
				case old:
					if why := used(s, t, at, idle); why != "" {
						return why
					}
				}
			}
			faults = append(faults, s.Fault)
		}
		if !has {
			return "its current token is not " + current + " yet" + because(faults...)
		}
		return ""
	}
}

// idleOf returns how long the token t of s must not have been used where nobody
// said so.
func idleOf(s agent.SourceStatus, t agent.TokenStatus) time.Duration {
	start := s.LastChange
	if !t.Cap.IsZero() && t.LastUsed.After(start) { // each use has put the deadline off
		start = t.LastUsed
	}
	if t.Deadline.IsZero() || !t.Deadline.After(start) {
		return maxIdle
	}
	return min(maxIdle, t.Deadline.Sub(start)/2)
}

// used says why the token t, which is previous, may still be in use. Whatever
// changed in the agent since makes it watch anew: a restart forgets uses.
func used(s agent.SourceStatus, t agent.TokenStatus, at time.Time, idle time.Duration) string {
	if idle == 0 {
		idle = idleOf(s, t)
	}
	last, hosts := t.LastUsed, []string(nil)
	for _, u := range s.PreviousUsers {
		if u.Fingerprint != t.Fingerprint && (t.KeyID == "" || u.Fingerprint != t.KeyID) {
			continue // users of a key that has a name are noted under that
		}
		if u.Last.After(last) {
			last = u.Last
		}
		if at.Sub(u.Last) < idle {
			hosts = append(hosts, u.Host)
		}
	}
	ago := func(t time.Time) time.Duration { return max(at.Sub(t).Round(time.Second), 0) }
	switch {
	case !last.IsZero() && at.Sub(last) < idle:
		from := ""
		if len(hosts) > 0 {
			from = " by " + strings.Join(hosts[:min(len(hosts), maxHosts)], ", ")
		}
		if len(hosts) > maxHosts {
			from += fmt.Sprintf(" and %d more", len(hosts)-maxHosts)
		}
		return fmt.Sprintf("%s was used%s %s ago, less than --idle %s", t.Fingerprint, from, ago(last), idle.Round(time.Second))
	case s.LastChange.IsZero():
		return "it does not say since when it watches " + t.Fingerprint
	case at.Sub(s.LastChange) < idle:
		return fmt.Sprintf("it saw no use of %s, but has watched for %s alone, less than --idle %s", t.Fingerprint, ago(s.LastChange), idle.Round(time.Second))
	}
	return ""
}

func because(faults ...string) string {
	faults = slices.DeleteFunc(faults, func(f string) bool { return f == "" })
	if len(faults) == 0 {
		return ""
	}
	return " (its source is bad: " + strings.Join(faults, "; ") + ")"
}
