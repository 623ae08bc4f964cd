package inspect

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// Text writes what the token says, for a person.
func (t *Token) Text(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "a JSON Web Token of %d bytes, fingerprint %s\n", t.Bytes, t.Fingerprint)
	for _, part := range []struct {
		name string
		of   Object
	}{{"header", t.Header}, {"claims", t.Claims}} {
		if part.of == nil {
			continue
		}
		fmt.Fprintln(w, part.name)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, m := range part.of {
			line := compact(m.Value)
			if at, ok := t.Claims.Time(m.Name); ok && part.name == "claims" && slices.Contains(Times(), m.Name) {
				line += "  (" + when(m.Name, at, now) + ")"
			}
			fmt.Fprintf(tab, "  %s\t%s\n", termsafe.Text(m.Name), line)
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	if t.Claims == nil {
		return nil
	}
	by := "its digest " + t.Digest
	if jti := t.Claims.Text("jti"); jti != "" {
		by = "its jti, or " + by
	}
	_, err := fmt.Fprintf(w, "to revoke it: %s\n", by)
	return err
}
