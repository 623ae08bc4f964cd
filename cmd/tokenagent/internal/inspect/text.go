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

// Times returns the claims that are times (RFC 7519 section 4.1, OpenID Connect Core
// section 2).
func Times() []string { return []string{"exp", "nbf", "iat", "auth_time"} }

// Text writes what the token says, for a person.
func (t *Token) Text(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "a JSON Web Token of %d bytes, fingerprint %s\n", t.Bytes, t.Fingerprint)
	for _, part := range []struct {
		name    string
		members Object
	}{{"header", t.Header}, {"claims", t.Claims}} {
		if part.members == nil {
			continue
		}
		fmt.Fprintln(w, part.name)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, name := range slices.Sorted(maps.Keys(part.members)) {
			line := compact(part.members[name])
			if at, ok := part.members.Time(name); ok && part.name == "claims" && slices.Contains(Times(), name) {
				line += "  (" + when(name, at, now) + ")"
			}
			fmt.Fprintf(tab, "  %s\t%s\n", termsafe.Text(name), line)
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	if t.Claims == nil {
		return nil
	}
	by := "its digest " + t.Digest
	if t.Claims.Text("jti") != "" {
		by = "its jti, or " + by
	}
	_, err := fmt.Fprintf(w, "to revoke it: %s\n", by)
	return err
}

// compact returns a value as JSON in one line, escaped.
func compact(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "?"
	}
	return termsafe.Text(strings.TrimSpace(b.String()))
}

// Quote returns text in quotes as JSON has it, and escapes what is not printable.
func Quote(text string) string {
	return `"` + termsafe.Text(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)) + `"`
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
		return text + ", not good for another " + span(left)
	default:
		return text + ", in " + span(left)
	}
}
