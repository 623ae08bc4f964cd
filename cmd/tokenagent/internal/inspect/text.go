package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// Text writes the content of a JSON Web Token for people.
func (t *Token) Text(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "a JSON Web Token of %d bytes, fingerprint %s\n", t.Bytes, t.Fingerprint)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "header")
	for _, name := range slices.Sorted(maps.Keys(t.Header)) {
		fmt.Fprintf(tab, "  %s\t%s\n", termsafe.Text(name), Quote(t.Header[name]))
	}
	if t.Claims == nil {
		return tab.Flush()
	}
	fmt.Fprintln(tab, "claims")
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		line := Quote(t.Claims[name])
		if at, ok := t.Times[name]; ok {
			line += "  (" + when(name, at, now) + ")"
		}
		fmt.Fprintf(tab, "  %s\t%s\n", termsafe.Text(name), line)
	}
	by := "its digest " + t.Digest
	if t.Claims.text("jti") != "" {
		by = "its jti, or " + by
	}
	fmt.Fprintf(tab, "to revoke it: %s\n", by)
	for _, text := range t.Warnings {
		fmt.Fprintf(tab, "warning: %s\n", text)
	}
	return tab.Flush()
}

// Quote returns value as JSON on one line. It escapes all characters that are not printable.
func Quote(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "?"
	}
	return termsafe.Text(strings.TrimSpace(b.String()))
}

// span returns a duration without the units that are zero.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// when describes the time of the claim name.
func when(name string, at, now time.Time) string {
	text, left := at.Format(time.RFC3339), at.Sub(now)
	switch {
	case name == "exp" && left <= 0:
		return text + ", expired " + span(-left) + " ago"
	case left <= 0:
		return text + ", " + span(-left) + " ago"
	case name == "nbf":
		return text + ", not valid for another " + span(left)
	default:
		return text + ", in " + span(left)
	}
}
