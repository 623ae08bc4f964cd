package rotate

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// reportSchema is the version of the form of a report.
const reportSchema = 1

// A report is what a step says of itself. It holds no token and no key.
type report struct {
	Schema   int    `json:"schema"`
	Step     string `json:"step"`
	Target   string `json:"target"`
	Kind     string `json:"kind"`    // tokens or keys
	Changed  bool   `json:"changed"` // with dry_run: would be
	DryRun   bool   `json:"dry_run"`
	Summary  string `json:"summary"`
	Current  *slot  `json:"current"` // null for a key set, in which none is
	Next     []slot `json:"next"`
	Previous []slot `json:"previous"`
	Listed   []slot `json:"listed,omitempty"`
	// Fingerprints.
	Revoked   []string `json:"revoked"`
	Retired   []string `json:"retired,omitempty"`
	Unrevoked []string `json:"unrevoked,omitempty"`

	Warnings []string `json:"warnings"`
	NextStep string   `json:"next_step"`
}

// A slot is a token or key in a report.
type slot struct {
	Fingerprint string    `json:"fingerprint"` // "" for one that a dry run would make
	KeyID       string    `json:"kid,omitempty"`
	KeyIDs      []string  `json:"kids,omitempty"` // all of them, where there are several
	Algorithm   string    `json:"alg,omitempty"`  // of a key
	Revoked     bool      `json:"revoked,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	LeftSeconds *int64    `json:"left_seconds,omitempty"` // until then; 0 when it has passed

	noun string // what one that is not made yet is called
}

// tell describes c at now. made is what a dry run has made and nobody will see
// again.
func tell(c content.Content, made content.Credential, now time.Time) *report {
	r := &report{Schema: reportSchema, Kind: c.Kind.String(), Next: []slot{}, Previous: []slot{}, Revoked: []string{}, Warnings: []string{}}
	show := func(t content.Credential) slot {
		if made.Reveal() != "" && t.ID() == made.ID() {
			return slot{noun: c.Kind.Noun(), Algorithm: t.Key().Algorithm()}
		}
		s := slot{Fingerprint: t.Fingerprint(), KeyID: t.Key().KeyID(), Algorithm: t.Key().Algorithm(), Revoked: c.Refuses(t)}
		if kids := t.KeyIDs(); len(kids) > 1 {
			s.KeyIDs = kids
		}
		return s
	}
	if c.HasCurrent() {
		current := show(c.Current)
		r.Current = &current
	}
	for _, t := range c.Next {
		r.Next = append(r.Next, show(t))
		if _, was := c.Superseded(t); was {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the staged %s %s is one that was superseded, and is accepted until it is taken out (retire --slot next); to promote it is to go back to it", c.Kind.Noun(), t.Fingerprint()))
		}
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
			r.Warnings = append(r.Warnings, fmt.Sprintf("the previous %s %s has no deadline and is accepted until it is retired", c.Kind.Noun(), one.Fingerprint))
		}
		r.Previous = append(r.Previous, one)
	}
	r.Revoked = append(r.Revoked, fingerprints(c.Revoked)...)
	r.Retired, r.Unrevoked = fingerprints(c.Retired), fingerprints(c.Unrevoked)
	if text := undone(c); text != "" {
		r.Warnings = append(r.Warnings, text+"; whoever keeps the source (a manifest that was applied again, Flux, Helm) has put it back: "+
			"change the "+c.Kind.Noun()+" there first, or stop that tool, and then stage and promote the new one again with --from FILE, or another one")
	}
	r.NextStep = nextStep(c, now)
	return r
}

// nextStep says what to do after c.
func nextStep(c content.Content, now time.Time) string {
	noun := c.Kind.Noun()
	live := false
	for _, s := range c.Previous {
		live = live || s.Live(now) && !c.Refuses(s.Token)
	}
	was := false
	if len(c.Next) > 0 {
		_, was = c.Superseded(c.Next[0])
	}
	switch {
	case c.Fixed != "":
		return "none: " + c.Fixed
	case c.Set:
		return nextInSet(c)
	case len(c.Next) > 0 && c.Next[0].ID() != c.Current.ID() && c.Refuses(c.Current):
		return "promote, at once: the current " + noun + " is revoked"
	case c.Refuses(c.Current):
		return "stage and promote, at once: the current " + noun + " is revoked and nothing else takes its place"
	case undone(c) != "":
		return "stage and promote, once nobody puts the old " + noun + " back"
	case nextIsCurrent(c):
		return "promote, to finish a step that was cut short: the staged " + noun + " is current already"
	case len(c.Next) == 1 && was:
		return "retire --slot next, once nobody sends the " + noun + " that is staged, which was superseded before; or promote, to go back to it"
	case len(c.Next) > 0:
		return "promote, once every receiver has the new " + noun + " (--agent asks them; a mounted Secret takes up to 90 s)"
	case live && c.Kind == content.Keys:
		return "let signers change to the new key; then retire, once everything that the old key signed has expired, or let its deadline pass"
	case live:
		return "retire, once no sender uses the old token (--agent asks the receivers), or let its deadline pass"
	case len(c.Previous) > 0:
		return "retire, to clear away what is accepted no more"
	default:
		return "stage, when it is time for the next rotation"
	}
}

// printReports writes reports for people, or as JSON for programs: one as an
// object, those of a list as an object with all of them under secrets.
func printReports(w io.Writer, form string, reports []*report) error {
	if form == formText {
		for _, r := range reports {
			if err := r.print(w); err != nil {
				return err
			}
		}
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if len(reports) == 1 {
		return e.Encode(reports[0])
	}
	return e.Encode(struct {
		Schema  int       `json:"schema"`
		Step    string    `json:"step"`
		Secrets []*report `json:"secrets"`
	}{reportSchema, reports[0].Step, reports})
}

// print writes r for people.
func (r *report) print(w io.Writer) error {
	mark := ""
	if r.DryRun {
		mark = "dry run, nothing written: "
	}
	termsafe.Fprintf(w, "%s: %s%s\n", r.Target, mark, r.Summary)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, s slot) { termsafe.Fprintf(t, "  %s\t%s\n", name, s.String()) }
	if r.Current != nil {
		line("current", *r.Current)
	}
	for _, s := range r.Next {
		line("next", s)
	}
	for _, s := range r.Previous {
		line("previous", s)
	}
	for _, s := range r.Listed {
		line("listed", s)
	}
	for _, list := range []struct {
		name   string
		prints []string
	}{{"revoked", r.Revoked}, {"retired", r.Retired}, {"unrevoked", r.Unrevoked}} {
		if len(list.prints) > 0 {
			termsafe.Fprintf(t, "  %s\t%s\n", list.name, content.Some(list.prints))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "next: %s\n", termsafe.Text(r.NextStep))
	return err
}

func (s slot) String() string {
	text := s.Fingerprint
	if text == "" {
		text = "a new " + s.noun
	}
	if s.Algorithm != "" {
		text += ", " + s.Algorithm
	}
	switch {
	case len(s.KeyIDs) > 0:
		text += fmt.Sprintf(", kid %q", s.KeyIDs)
	case s.KeyID != "":
		text += fmt.Sprintf(", kid %q", s.KeyID)
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
