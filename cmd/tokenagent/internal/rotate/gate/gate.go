// Package gate holds a rotation back until running agents are ready for it.
package gate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

const (
	askTimeout = 5 * time.Second // for one answer
	pollEvery  = time.Second     // between two rounds
	atOnce     = 64              // agents that are asked at the same time
)

// A Gate asks agents until all of them are ready. A Gate without agents is open.
type Gate struct {
	Agents []string      // the URLs of their admin ports
	Source string        // name of the source to ask about; "" means any
	Wait   time.Duration // how long to go on asking; 0 asks once
	Ask    func(ctx context.Context, url string) (statusclient.Answer, error)
}

// A Check says why an agent is not ready, and "" if it is. sources are those that the
// gate is about, one at least; at is the agent's time.
type Check func(sources []agent.SourceStatus, at time.Time) string

// Pass returns nil once every agent has passed check in one round. The error names all
// that have not.
func (g Gate) Pass(ctx context.Context, check Check) error {
	end := time.Now().Add(g.Wait)
	for {
		late := g.Late(ctx, check)
		if len(late) == 0 {
			return nil
		}
		err := fmt.Errorf("%d of %d agents not ready for this: %s; nothing was changed", len(late), len(g.Agents), strings.Join(late, "; "))
		left := time.Until(end)
		switch {
		case left > 0:
		case g.Wait > 0:
			return fmt.Errorf("%w; --wait %s was not enough; check these agents, or wait longer", err, g.Wait)
		default:
			return fmt.Errorf("%w; try again later, or wait for them with --wait DURATION", err)
		}
		t := time.NewTimer(min(pollEvery, left))
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%w while waiting: %w", exitcode.Interrupted, err)
		case <-t.C:
		}
	}
}

// Late asks all agents once, and returns in their order what those say that do not pass.
func (g Gate) Late(ctx context.Context, check Check) []string {
	late := make([]string, len(g.Agents))
	var asked sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i, url := range g.Agents {
		free <- struct{}{}
		asked.Go(func() {
			defer func() { <-free }()
			if why := g.one(ctx, url, check); why != "" {
				late[i] = url + ": " + termsafe.Text(why) // the agent's words
			}
		})
	}
	asked.Wait()
	return slices.DeleteFunc(late, func(s string) bool { return s == "" })
}

func (g Gate) one(ctx context.Context, url string, check Check) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a, err := g.Ask(ctx, url)
	if err != nil {
		return err.Error()
	}
	sources := slices.DeleteFunc(slices.Clone(a.Status.Sources), func(s agent.SourceStatus) bool { return g.Source != "" && s.Name != g.Source })
	if len(sources) == 0 {
		return "it has no such source; --source must be the name that its configuration gives"
	}
	return check(sources, a.At)
}

// Loaded is passed by an agent that accepts every token or key of fingerprints without a
// deadline: as next, current or listed. Every source of the agent that has one of those in
// concerned, all of them fingerprints, must accept them, and so must at least one source.
func Loaded(concerned []string, fingerprints ...string) Check {
	return func(sources []agent.SourceStatus, _ time.Time) string {
		for _, f := range fingerprints {
			loaded := false
			for _, s := range sources {
				has := slices.ContainsFunc(s.Tokens, func(t agent.TokenStatus) bool { return t.Fingerprint == f && t.Slot != "previous" })
				loaded = loaded || has
				if !has && slices.ContainsFunc(s.Tokens, func(t agent.TokenStatus) bool { return slices.Contains(concerned, t.Fingerprint) }) {
					return "it has not loaded " + f + " in its source " + s.Name + because(s)
				}
			}
			if !loaded {
				return "it has not loaded " + f + because(sources...)
			}
		}
		return ""
	}
}

// Unused is passed by an agent that has the token current as its current one, and for
// idle has seen no use of those in previous, all of them fingerprints. An agent that has
// not watched for so long, as after a restart, cannot know. Idle 0 means [defaultIdle].
func Unused(current string, previous []string, idle time.Duration) Check {
	return func(sources []agent.SourceStatus, at time.Time) string {
		isLoaded := false
		for _, s := range sources {
			for _, t := range s.Tokens {
				old := slices.Contains(previous, t.Fingerprint)
				switch {
				case t.Slot == "current" && t.Fingerprint == current:
					isLoaded = true
				case old && t.Slot != "previous":
					return fmt.Sprintf("it still has %s as %s%s", t.Fingerprint, t.Slot, because(s))
				case old:
					if why := used(s, t, at, cmp.Or(idle, defaultIdle(s, t))); why != "" {
						return why
					}
				}
			}
		}
		if !isLoaded {
			return "its current token is not " + current + " yet" + because(sources...)
		}
		return ""
	}
}

// defaultIdle returns 15 minutes, but no more than half the time that the agent accepts
// the token t for, so that the gate can open before that is over.
func defaultIdle(s agent.SourceStatus, t agent.TokenStatus) time.Duration {
	const most = 15 * time.Minute
	start := s.LastChange
	if !t.Cap.IsZero() && t.LastUsed.After(start) { // the window slides: each use renews it
		start = t.LastUsed
	}
	if t.Deadline.IsZero() || !t.Deadline.After(start) {
		return most
	}
	return min(most, t.Deadline.Sub(start)/2)
}

// used says why the previous token t may still be in use. Any change in the agent starts
// the time anew, because a restart forgets uses.
func used(s agent.SourceStatus, t agent.TokenStatus, at time.Time, idle time.Duration) string {
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
		by := ""
		if len(hosts) > 0 {
			by = " by " + content.ShortList(hosts)
		}
		return fmt.Sprintf("%s was used%s %s ago, less than --idle %s", t.Fingerprint, by, ago(last), idle.Round(time.Second))
	case s.LastChange.IsZero():
		return "it does not say since when it watches " + t.Fingerprint
	case at.Sub(s.LastChange) < idle:
		return fmt.Sprintf("it saw no use of %s, but has watched for only %s, less than --idle %s", t.Fingerprint, ago(s.LastChange), idle.Round(time.Second))
	}
	return ""
}

// because says which of the sources are bad.
func because(sources ...agent.SourceStatus) string {
	var faults []string
	for _, s := range sources {
		if s.Error != "" {
			faults = append(faults, s.Error)
		}
	}
	if len(faults) == 0 {
		return ""
	}
	return " (its source is bad: " + strings.Join(faults, "; ") + ")"
}
