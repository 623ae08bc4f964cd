package plan

import (
	"fmt"
	"math"
)

// next returns what to do, in order.
func next(m *model, p *proposal) []string {
	overlap := "--overlap " + short(p.chosen.overlap)
	retire := fmt.Sprintf("wait until the %s have passed, and nothing uses the old token any more", short(p.chosen.overlap))
	change := "senders change over by themselves"
	switch {
	case m.sender == restart && m.restart.bounded():
		change = fmt.Sprintf("restart the senders; the last one must be done within %s", coarse(m.restart.limit(0)))
	case m.sender == restart:
		change = "restart the senders"
	case m.sender == execed:
		change = "senders change over by themselves, under tokenagent exec --restart-delay " + short(m.delay)
	}
	// PATH and NAME are the operator's to fill in.
	rotate := func(step string) string {
		if m.reach.sync > 0 {
			return "kubectl get secret NAME -o json | tokenagent rotate " + step + " | kubectl replace -f -"
		}
		return "tokenagent rotate " + step + " PATH"
	}
	switch m.protocol {
	case staged:
		steps := []string{rotate("stage")}
		if p.chosen.wait > 0 {
			steps = append(steps, "wait "+short(p.chosen.wait))
		}
		return append(steps, rotate("promote "+overlap), change, retire, rotate("retire"))
	case now:
		return []string{rotate("now " + overlap), change, retire, rotate("retire")}
	default:
		if m.sliding {
			overlap += " --max-overlap " + short(p.chosen.maxOverlap)
		} else {
			overlap += " --max-overlap=-1s" // a window that slides is longer than what was judged
		}
		return []string{
			"run the agents, or the apps that embed them, with " + overlap,
			"write the new token over the old one",
			change,
		}
	}
}

// notes returns what the times do not say by themselves.
func notes(f *flags, m *model, p *proposal, a *answer) []string {
	all := []string{}
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if p.safe.unstaged {
		add("without staging no overlap is safe: requests with the new token are refused until each receiver knows it, up to %s; use --protocol staged", orNever(p.advised.reach))
	}
	if !m.reach.delivery.bounded() && (m.protocol == staged || m.readsSource()) {
		what := "stage wait"
		switch {
		case m.protocol != staged:
			what = "overlap"
		case m.readsSource():
			what = "stage wait and no overlap"
		}
		add("no %s is safe: --delivery %s has no upper limit; check that it has arrived everywhere, or use uniform with a limit that you enforce", what, m.reach.delivery.String())
	}
	if !m.restart.bounded() {
		add("no overlap is safe: --sender-restart %s has no upper limit; restart what is left at a fixed time, and use uniform with that time", m.restart.String())
	}
	if !a.Bounded && !p.given {
		add("the times are for a risk of %g (--risk) that a rotation refuses anything", f.risk)
	}
	if p.given && p.chosen.wait < p.safe.wait && !math.IsInf(p.safe.wait, 1) {
		add("--stage-wait %s is too short: %s is safe", short(p.chosen.wait), short(p.advised.wait))
	}
	if p.given && p.chosen.overlap < p.safe.overlap && !math.IsInf(p.safe.overlap, 1) {
		add("--overlap %s is too short: %s is safe", short(p.chosen.overlap), short(p.advised.overlap))
	}
	if p.given && p.chosen.maxOverlap < p.safe.maxOverlap && !math.IsInf(p.safe.maxOverlap, 1) {
		add("--max-overlap %s is too short: %s is safe", short(p.chosen.maxOverlap), short(p.advised.maxOverlap))
	}
	if m.sender == restart && f.senderRestart == "" {
		add("how long senders take to restart is assumed: say --sender-restart")
	}
	if m.protocol == replace {
		add("an agent that restarts in the overlap without a --state-file forgets the old token, and one that is new never knew it")
	}
	return all
}

func orNever(seconds float64) string {
	if math.IsInf(seconds, 1) {
		return "any time"
	}
	return coarse(seconds)
}
