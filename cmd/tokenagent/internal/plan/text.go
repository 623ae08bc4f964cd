package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// text writes the answer for people: what to do first, then why.
func (a *answer) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	m, c, sim := a.Assumed, a.Chosen, a.Simulation
	chosen := fmt.Sprintf("overlap %s", c.Overlap.coarse())
	if m.Protocol == staged {
		chosen = fmt.Sprintf("stage wait %s, %s", c.StageWait.coarse(), chosen)
	}
	if m.Sliding {
		chosen += fmt.Sprintf(", capped at %s", c.MaxOverlap.coarse())
	}
	verdict := "NOT SAFE: a rotation refuses something with a chance of " + percent(c.Any)
	switch {
	case a.Safe:
		verdict = "safe"
	case a.WithinRisk:
		verdict = fmt.Sprintf("NOT SAFE, but a rotation refuses anything with a chance of %g at most", m.Risk)
	case c.Any == 0:
		verdict = fmt.Sprintf("NOT SAFE, though none of %d simulated rotations refuses anything", sim.Rotations)
	}
	line("%s: %s", chosen, verdict)
	for _, note := range a.Notes {
		line("note: %s", note)
	}
	line("\nwhat to do:")
	for i, step := range a.Next {
		line("  %d. %s", i+1, step)
	}
	if a.Run != "" {
		line("  or all of it: %s", a.Run)
	}
	line("\nassumed:\n%s", m.text())

	line("\n%-26s %8s   in %d simulated rotations (seed %d)", "", "limit", sim.Rotations, sim.Seed)
	row := func(name string, limit seconds, s spread) {
		line("%-26s %8s   half %s, 99%% %s, longest %s", name, limit.coarse(), s.Median.coarse(), s.P99.coarse(), s.Max.coarse())
	}
	row("a receiver knows", a.Limits.Propagation, sim.Propagation)
	row("the old token's last use", a.Limits.LastUse, sim.LastUse)
	if m.Protocol == staged {
		row("stage wait needed", a.Limits.StageWait, sim.StageWait)
	}
	row("overlap needed", a.Limits.Overlap, sim.Overlap)

	line("\nwhat a rotation refuses (mean number of requests):")
	line("%-10s %13s %12s %12s %14s", "overlap", "any at all", "old token", "new token", "of all")
	rows := slices.Clone(a.Chances)
	if !slices.ContainsFunc(rows, func(r chance) bool { return r.Overlap == c.Overlap }) {
		rows = append(rows, c)
	}
	slices.SortFunc(rows, func(x, y chance) int { return cmp.Compare(x.Overlap, y.Overlap) })
	for _, r := range rows {
		line("%-10s %13s %12.3g %12.3g %14s", r.Overlap.coarse(), r.any(), r.OldRequests, r.NewRequests, percent(r.Share))
	}
	return b.String()
}

// text writes what is assumed.
func (m *model) text() string {
	receivers, agents, senders := "a file", "see events", m.Sender
	if m.KubeletSync > 0 {
		receivers = fmt.Sprintf("a mounted Secret, kubelet resync %s", seconds(m.KubeletSync))
		if m.CacheTTL > 0 {
			receivers += fmt.Sprintf(", cache TTL %s", seconds(m.CacheTTL))
		}
	}
	if m.PollInterval > 0 {
		agents = fmt.Sprintf("poll every %s", seconds(m.PollInterval))
	}
	if m.Sender == underExec {
		senders += fmt.Sprintf(", delay %s", seconds(m.RestartDelay))
	}
	if m.Sender != transport {
		senders += ", restart " + m.SenderRestart
	}
	return fmt.Sprintf("  %d receivers: %s, agents %s, debounce %s, delivery %s\n", m.Receivers, receivers, agents, seconds(m.Debounce), m.Delivery) +
		fmt.Sprintf("  %d senders: %s, in flight %s, %g requests/s each\n", m.Senders, senders, seconds(m.InFlight), m.RequestRate) +
		fmt.Sprintf("  newcomers just after the change: %d; clock skew %s", m.Newcomers, seconds(m.ClockSkew))
}

// any writes the chance of any refusal: "none" means impossible, "none seen" does not.
func (c *chance) any() string {
	switch {
	case c.Safe:
		return "none"
	case c.Any == 0:
		return "none seen"
	default:
		return percent(c.Any)
	}
}

// percent rounds a chance, but never to 0 or 1.
func percent(chance float64) string {
	switch {
	case chance == 0:
		return "0"
	case chance > 0.999:
		return "over 99.9%"
	case chance >= 0.995: // two digits would be 1e+02
		return fmt.Sprintf("%.1f%%", 100*chance)
	case chance < 1e-6:
		return "under 0.0001%"
	default:
		return fmt.Sprintf("%.2g%%", 100*chance)
	}
}

// next returns the steps of the rotation, in order.
func (a *answer) next() []string {
	m, c := a.Assumed, a.Chosen
	overlap := fmt.Sprintf("--overlap %s", c.Overlap)
	change := "senders change over by themselves"
	switch {
	case m.Sender == restarted && m.restart.bounded():
		change = fmt.Sprintf("restart the senders; the last one must be done within %s", seconds(m.restart.longest(0)).coarse())
	case m.Sender == restarted:
		change = "restart the senders"
	case m.Sender == underExec:
		change += fmt.Sprintf(", under tokenagent exec --restart-delay %s", seconds(m.RestartDelay))
	}
	if m.Protocol == replace {
		limit := "=-1s" // fixed: an overlap that slides is longer than what was judged
		if m.Sliding {
			limit = " " + c.MaxOverlap.String()
		}
		return []string{
			"run the agents, or the apps that embed them, with " + overlap + " --max-overlap" + limit,
			"write the new token over the old one",
			change,
		}
	}
	rotate := func(step string) string {
		if m.KubeletSync > 0 {
			return "kubectl get secret NAME -o json | tokenagent rotate " + step + " | kubectl replace -f -"
		}
		return "tokenagent rotate " + step + " PATH"
	}
	steps := []string{rotate("now " + overlap)}
	switch {
	case m.Protocol == staged && c.StageWait > 0:
		steps = []string{rotate("stage"), "wait " + c.StageWait.String(), rotate("promote " + overlap)}
	case m.Protocol == staged:
		steps = []string{rotate("stage"), rotate("promote " + overlap)}
	}
	return append(steps, change, fmt.Sprintf("wait until the %s have passed, and nothing uses the old token any more", c.Overlap), rotate("retire"))
}

// whole returns the whole rotation as one command, and "" if rotate run cannot do it.
func (a *answer) whole() string {
	m, c := a.Assumed, a.Chosen
	if m.Protocol != staged || c.Overlap == 0 {
		return ""
	}
	what, overlap := " --agent URL PATH", c.Overlap
	switch {
	case m.KubeletSync > 0 && m.Sender == restarted:
		what = " --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME"
		least := auto.Settings{StageWait: time.Duration(c.StageWait * seconds(time.Second))}.LeastOverlap() // with --restart
		overlap = max(overlap, seconds(least.Seconds()))
	case m.KubeletSync > 0:
		what = " --secret NAMESPACE/NAME --agents SERVICE"
	}
	return fmt.Sprintf("tokenagent rotate run --stage-wait %s --overlap %s --idle %s%s", c.StageWait, overlap, a.Idle, what)
}

// idle returns how long agents must not have seen the old token before it is retired: until
// no sender has it any more. A shorter time would retire it while a sender that has not
// changed over yet is silent.
func (a *answer) idle() seconds {
	if a.Assumed.Protocol != staged {
		return 0
	}
	const step = 5
	return min(step*seconds(math.Ceil(float64(a.target.LastUse)/step)), a.Chosen.Overlap)
}

// note adds notes about the times.
func (a *answer) note() {
	m, c, limits := a.Assumed, a.Chosen, a.Limits
	knows := a.target.Propagation.coarse().String()
	if knows == "none" {
		knows = "any time"
	}
	var unsafe []string
	if m.Protocol == staged {
		unsafe = append(unsafe, "no stage wait")
	}
	if m.readsSource() {
		unsafe = append(unsafe, "no overlap")
	}
	short := func(chosen, limit seconds) bool { return a.given && chosen < limit && !math.IsInf(float64(limit), 1) }
	for _, n := range []struct {
		applies bool
		text    string
	}{
		{limits.unstaged, "without staging no overlap is safe: requests with the new token are refused until each receiver knows it, up to " + knows + "; use --protocol staged"},
		{!m.delivery.bounded() && unsafe != nil, strings.Join(unsafe, " and ") + " is safe: --delivery " + m.Delivery + " has no upper limit; check that it has arrived everywhere, or use uniform with a limit that you enforce"},
		{!m.restart.bounded(), "no overlap is safe: --sender-restart " + m.SenderRestart + " has no upper limit; restart what is left at a fixed time, and use uniform with that time"},
		{!a.Bounded && !a.given, fmt.Sprintf("the times are for a risk of %g (--risk) that a rotation refuses anything", m.Risk)},
		{short(c.StageWait, limits.StageWait), fmt.Sprintf("--stage-wait %s is too short: %s is safe", c.StageWait, a.Advised.StageWait)},
		{short(c.Overlap, limits.Overlap), fmt.Sprintf("--overlap %s is too short: %s is safe", c.Overlap, a.Advised.Overlap)},
		{short(c.MaxOverlap, limits.MaxOverlap), fmt.Sprintf("--max-overlap %s is too short: %s is safe", c.MaxOverlap, a.Advised.MaxOverlap)},
		{m.Sender == restarted && m.restartAssumed, "how long senders take to restart is assumed: give --sender-restart"},
		{m.Protocol == replace, "an agent that restarts in the overlap without a --state-file forgets the old token, and one that is new never knew it"},
	} {
		if n.applies {
			a.Notes = append(a.Notes, n.text)
		}
	}
}
