package rotate

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// progress returns what prints the progress of a whole rotation: one JSON object a line, a
// table on a terminal, or lines. A failure is no line, because it is the error of the command.
func (r *request) progress() func(auto.Progress) {
	if r.output == choice.JSON {
		e := json.NewEncoder(r.stdout)
		return func(p auto.Progress) {
			_ = e.Encode(struct { // nobody is left to tell if it fails
				Schema int `json:"schema"`
				auto.Progress
			}{reportSchema, p})
		}
	}
	if out, ok := r.stdout.(io.Reader); ok && stdin.Terminal(out) {
		return r.table()
	}
	return func(p auto.Progress) {
		if p.Event != "failed" {
			termsafe.Fprintf(r.stdout, "%s %s%s\n", p.Time.Format("2006-01-02T15:04:05Z"), p.Event, about(p))
		}
	}
}

// table returns what prints a table with a row for each event. The last row says what the
// rotation waits for, and is replaced by the next one.
func (r *request) table() func(auto.Progress) {
	begun, waits := false, false
	return func(p auto.Progress) {
		if !begun {
			begun = true
			fmt.Fprintf(r.stdout, "%-9s%-11s%s\n", "TIME", "STEP", "WHAT")
		}
		if waits {
			fmt.Fprint(r.stdout, "\x1b[1A\x1b[2K\x1b[G") // up, clear the line, to its start (ECMA-48)
		}
		if waits = p.Event == "waiting"; p.Event != "failed" {
			text := about(p)
			if waits && len(text) > 58 { // the row must stay one line, to be replaced
				text = text[:55] + "..."
			}
			termsafe.Fprintf(r.stdout, "%-9s%-10s%s\n", p.Time.Local().Format("15:04:05"), p.Event, text)
		}
	}
}

// about returns what p is about, after a space.
func about(p auto.Progress) (text string) {
	if p.Fingerprint != "" {
		text += " " + p.Fingerprint
	}
	if p.Target != "" {
		text += " in " + p.Target
	}
	if p.Message != "" && text != "" {
		text += ":"
	}
	if p.Message != "" {
		text += " " + p.Message
	}
	return text
}
