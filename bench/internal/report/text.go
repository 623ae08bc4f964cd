package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
)

// Results are the rows of one section.
type Results struct {
	Title string
	Rows  []Row
}

var heads = [...]string{"what", "ours", "peer", "", "ours/peer", "floor", "target", "reached"} //nolint:gochecknoglobals // a constant

// Table writes all results as one plain-text table.
func Table(w io.Writer, all []Results) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(heads[:], "\t"))
	for _, s := range all {
		fmt.Fprintf(t, "\n%s\n", s.Title)
		for _, r := range s.Rows {
			fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
		}
	}
	return t.Flush()
}

// Markdown returns the results as Markdown tables, one a section.
func Markdown(all []Results) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "### %s\n\n| %s |\n|%s\n", s.Title, strings.Join(heads[:], " | "), strings.Repeat("---|", len(heads)))
		for _, r := range s.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(r.cells(), " | "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r Row) cells() []string {
	cells := []string{r.What, r.Unit.text(r.Ours), r.Unit.text(r.Peer), r.PeerName, "", r.Unit.text(r.Floor), r.Target, ""}
	if r.Missed != "" {
		cells[2] = r.Missed
	}
	if r.Ratio.Known() {
		cells[4] = ratio(r.Ratio)
	}
	if r.Target != "" {
		cells[7] = map[bool]string{true: "yes", false: "NO"}[r.Met]
	}
	return cells
}

// Unmet returns the number of rows with a target, and the names of those that do not
// reach it.
func Unmet(all []Results) (targets int, unmet []string) {
	for _, s := range all {
		for _, r := range s.Rows {
			if r.Target == "" {
				continue
			}
			targets++
			if !r.Met {
				unmet = append(unmet, s.Title+": "+r.What+" ("+r.PeerName+")")
			}
		}
	}
	return targets, unmet
}

// ratio formats a ratio with its bounds. It formats a small ratio as a fraction.
func ratio(e measure.Estimate) string {
	text := fmt.Sprintf("%.2f", e.Value)
	if e.Value > 0 && e.Value < 0.2 {
		text = fmt.Sprintf("1/%s", short(1/e.Value))
	}
	return text + bounds(e)
}

// bounds formats the wider half of the confidence interval, in per cent of the value.
func bounds(e measure.Estimate) string {
	wider := max(e.Value-e.Low, e.High-e.Value)
	if wider <= 0 || e.Value == 0 || wider > 1e300 {
		return ""
	}
	return fmt.Sprintf(" ±%.0f%%", 100*wider/e.Value)
}

func (u Unit) text(e measure.Estimate) string {
	if !e.Known() {
		return ""
	}
	switch u {
	case Times:
		return fmt.Sprintf("%.2f×", e.Value) + bounds(e)
	case PerSecond:
		return short(e.Value) + "/s"
	case Count:
		return short(e.Value)
	default:
		return duration(e.Value) + bounds(e)
	}
}

func duration(ns float64) string {
	switch {
	case ns >= 1e9:
		return short(ns/1e9) + " s"
	case ns >= 1e6:
		return short(ns/1e6) + " ms"
	case ns >= 1e3:
		return short(ns/1e3) + " µs"
	default:
		return short(ns) + " ns"
	}
}

// short formats v with three digits.
func short(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
