package plan

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeText prints the answer for people: what to do first, then why.
func (a *answer) writeText(w io.Writer) error {
	var b strings.Builder
	a.textVerdict(&b)
	fmt.Fprint(&b, "\nwhat to do:\n")
	for i, step := range a.Next {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, step)
	}
	a.textAssumed(&b)
	a.textLimits(&b)
	a.textChances(&b)
	fmt.Fprint(&b, "\nfrom the change until a receiver knows:\n", drawBins(a.Simulation.Propagation.Bins))
	fmt.Fprint(&b, "\nfrom the change until a sender last uses the old token:\n", drawBins(a.Simulation.LastUse.Bins))
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *answer) textVerdict(b *strings.Builder) {
	c := a.Chosen
	var parts []string
	if a.Protocol == staged {
		parts = append(parts, "stage wait "+orNone(c.StageWait))
	}
	parts = append(parts, "overlap "+orNone(c.Overlap))
	if c.MaxOverlap != nil {
		parts = append(parts, "capped at "+orNone(c.MaxOverlap))
	}
	verdict := "NOT SAFE: a rotation refuses something with a chance of " + percent(c.Any)
	switch {
	case a.Safe:
		verdict = "safe"
	case a.WithinRisk:
		verdict = fmt.Sprintf("NOT SAFE, but a rotation refuses anything with a chance of %g at most", a.Assumed.Risk)
	case c.Any == 0:
		verdict = fmt.Sprintf("NOT SAFE, though none of %d simulated rotations refuses anything", a.Simulation.Rotations)
	}
	fmt.Fprintf(b, "%s: %s\n", strings.Join(parts, ", "), verdict)
	for _, note := range a.Notes {
		fmt.Fprintf(b, "note: %s\n", note)
	}
}

func (a *answer) textAssumed(b *strings.Builder) {
	s := a.Assumed
	fmt.Fprintf(b, "\nassumed:\n  %d receivers: ", s.Receivers)
	if s.KubeletSync > 0 {
		fmt.Fprintf(b, "a mounted Secret, kubelet resync %s", short(s.KubeletSync))
		if s.CacheTTL > 0 {
			fmt.Fprintf(b, ", cache TTL %s", short(s.CacheTTL))
		}
	} else {
		fmt.Fprint(b, "a file")
	}
	if s.PollInterval > 0 {
		fmt.Fprintf(b, ", agents poll every %s, debounce %s", short(s.PollInterval), short(s.Debounce))
	} else {
		fmt.Fprintf(b, ", agents see events, debounce %s", short(s.Debounce))
	}
	fmt.Fprintf(b, ", delivery %s\n  %d senders: %s", s.Delivery, s.Senders, s.Sender)
	if s.Sender == execed {
		fmt.Fprintf(b, ", delay %s", short(s.RestartDelay))
	}
	if s.Sender != transport {
		fmt.Fprintf(b, ", restart %s", s.SenderRestart)
	}
	fmt.Fprintf(b, ", in flight %s, %g requests/s each\n", short(s.InFlight), s.RequestRate)
	fmt.Fprintf(b, "  newcomers just after the change: %d; clock skew %s\n", s.Newcomers, short(s.ClockSkew))
}

func (a *answer) textLimits(b *strings.Builder) {
	sim := a.Simulation
	fmt.Fprintf(b, "\n%-26s %8s   in %d simulated rotations (seed %d)\n", "", "limit", sim.Rotations, sim.Seed)
	row := func(name string, limit *float64, s spread) {
		fmt.Fprintf(b, "%-26s %8s   half %s, 99%% %s, longest %s\n", name, orNone(limit), coarse(s.Half), coarse(s.P99), coarse(s.Most))
	}
	row("a receiver knows", a.Limits.Propagation, sim.Propagation.spread)
	row("the old token's last use", a.Limits.LastUse, sim.LastUse.spread)
	if a.Protocol == staged {
		row("stage wait needed", a.Limits.StageWait, sim.StageWait)
	}
	row("overlap needed", a.Limits.Overlap, sim.Overlap)
	for _, r := range a.Risks {
		fmt.Fprintf(b, "for a risk of %g: ", r.Risk)
		if a.Protocol == staged {
			fmt.Fprintf(b, "stage wait %s, ", orNone(r.StageWait))
		}
		fmt.Fprintf(b, "overlap %s\n", orNone(r.Overlap))
	}
}

func (a *answer) textChances(b *strings.Builder) {
	fmt.Fprintf(b, "\nwhat a rotation refuses (mean number of requests):\n%-10s %13s %12s %12s %14s\n", "overlap", "any at all", "old token", "new token", "of all")
	rows := slices.Clone(a.Chances)
	if !slices.ContainsFunc(rows, func(c chance) bool { return *c.Overlap == *a.Chosen.Overlap }) {
		rows = append(rows, a.Chosen)
	}
	slices.SortFunc(rows, func(x, y chance) int { return cmp.Compare(*x.Overlap, *y.Overlap) })
	for _, c := range rows {
		fmt.Fprintf(b, "%-10s %13s %12.3g %12.3g %14s\n", coarse(*c.Overlap), c.any(), c.OldRefused, c.NewRefused, percent(c.Share))
	}
}

// any writes the chance of any refusal, and tells what cannot be from what was
// not seen.
func (c chance) any() string {
	switch {
	case c.Safe:
		return "none"
	case c.Any == 0:
		return "none seen"
	default:
		return percent(c.Any)
	}
}

func orNone(seconds *float64) string {
	if seconds == nil {
		return "none"
	}
	return coarse(*seconds)
}

// percent writes a chance so that never and always are told from nearly.
func percent(chance float64) string {
	switch {
	case chance == 0:
		return "0"
	case chance > 0.999:
		return "over 99.9%"
	case chance >= 0.995: // two digits of it would be 1e+02
		return fmt.Sprintf("%.1f%%", 100*chance)
	case chance < 1e-6:
		return "under 0.0001%"
	default:
		return fmt.Sprintf("%.2g%%", 100*chance)
	}
}
