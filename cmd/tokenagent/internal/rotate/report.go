package rotate

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// reportSchema is the version of the form of a report.
const reportSchema = 1

// A report is what a step says of itself. It holds no token.
type report struct {
	Schema   int      `json:"schema"`
	Step     string   `json:"step"`
	Target   string   `json:"target"`
	Changed  bool     `json:"changed"` // with dry_run: would be
	DryRun   bool     `json:"dry_run"`
	Summary  string   `json:"summary"`
	Current  slot     `json:"current"`
	Next     []slot   `json:"next"`
	Previous []slot   `json:"previous"`
	Listed   []slot   `json:"listed,omitempty"`
	Revoked  []string `json:"revoked"` // fingerprints
	Warnings []string `json:"warnings"`
	NextStep string   `json:"next_step"`
}

// A slot is a token in a report.
type slot struct {
	Fingerprint string    `json:"fingerprint"` // "" for one that a dry run would make
	Revoked     bool      `json:"revoked,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	LeftSeconds *int64    `json:"left_seconds,omitempty"` // until then; 0 when it has passed
}

// tell describes c at now. made is a token that a dry run has made and that
// nobody will see again.
func tell(c content.Content, made verify.Token, now time.Time) *report {
	r := &report{Schema: reportSchema, Next: []slot{}, Previous: []slot{}, Revoked: []string{}, Warnings: []string{}}
	show := func(t verify.Token) slot {
		if made.Reveal() != "" && t.ID() == made.ID() {
			return slot{}
		}
		return slot{Fingerprint: print8(t), Revoked: c.IsRevoked(t.ID())}
	}
	r.Current = show(c.Current)
	for _, t := range c.Next {
		r.Next = append(r.Next, show(t))
	}
	for _, t := range c.Listed {
		r.Listed = append(r.Listed, show(t))
	}
	for _, s := range c.Previous {
		one := show(s.Token)
		if !s.Until.IsZero() {
			left := max(int64(s.Until.Sub(now)/time.Second), 0)
			one.Until, one.LeftSeconds = s.Until.UTC(), &left
		} else {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the previous token %s has no deadline and is accepted until it is retired", one.Fingerprint))
		}
		r.Previous = append(r.Previous, one)
	}
	for _, id := range c.Revoked {
		r.Revoked = append(r.Revoked, verify.Fingerprint(id))
	}
	r.NextStep = nextStep(c, now)
	return r
}

// nextStep says what to do after c.
func nextStep(c content.Content, now time.Time) string {
	live := false
	for _, s := range c.Previous {
		live = live || s.Live(now) && !c.IsRevoked(s.Token.ID())
	}
	switch {
	case len(c.Next) > 0 && c.IsRevoked(c.Current.ID()):
		return "promote, at once: the current token is revoked"
	case c.IsRevoked(c.Current.ID()):
		return "stage and promote, at once: the current token is revoked and nothing else takes its place"
	case len(c.Next) > 0:
		return "promote, once every receiver has the new token (--agent asks them; a mounted Secret takes up to 90 s)"
	case live:
		return "retire, once no sender uses the old token (--agent asks the receivers), or let its deadline pass"
	case len(c.Previous) > 0:
		return "retire, to clear away what is accepted no more"
	default:
		return "stage, when it is time for the next rotation"
	}
}

// print writes r for people, or as JSON for programs.
func (r *report) print(w io.Writer, form string) error {
	if form == formJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	mark := ""
	if r.DryRun {
		mark = "dry run, nothing written: "
	}
	fmt.Fprintf(w, "%s: %s%s\n", r.Target, mark, r.Summary)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, s slot) { fmt.Fprintf(t, "  %s\t%s\n", name, s) }
	line("current", r.Current)
	for _, s := range r.Next {
		line("next", s)
	}
	for _, s := range r.Previous {
		line("previous", s)
	}
	for _, s := range r.Listed {
		line("listed", s)
	}
	for _, f := range r.Revoked {
		fmt.Fprintf(t, "  revoked\t%s\n", f)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "next: %s\n", r.NextStep)
	return err
}

func (s slot) String() string {
	text := s.Fingerprint
	if text == "" {
		text = "a new token"
	}
	if s.Revoked {
		text += ", revoked"
	}
	switch {
	case s.LeftSeconds == nil:
	case *s.LeftSeconds == 0:
		text += ", until " + content.Deadline(s.Until) + ", which has passed"
	default:
		text += fmt.Sprintf(", until %s, another %s", content.Deadline(s.Until), time.Duration(*s.LeftSeconds)*time.Second)
	}
	return text
}
