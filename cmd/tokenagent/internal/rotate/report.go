package rotate

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// reportSchema is the version of the JSON form of a report.
const reportSchema = 1

// A report says what a step did, and what the source declares then. It holds no token
// and no key.
type report struct {
	Schema   int          `json:"schema"`
	Step     string       `json:"step"`
	Target   string       `json:"target"`
	Client   string       `json:"client,omitempty"` // "" is the unnamed one
	Kind     content.Kind `json:"kind"`
	Changed  bool         `json:"changed"` // with dry_run: would be
	DryRun   bool         `json:"dry_run"`
	Summary  string       `json:"summary"`
	Current  *slot        `json:"current"` // null for a key set
	Next     []slot       `json:"next"`
	Previous []slot       `json:"previous"`
	Listed   []slot       `json:"listed,omitempty"`
	// Fingerprints.
	Revoked   []string `json:"revoked"`
	Retired   []string `json:"retired,omitempty"`
	Unrevoked []string `json:"unrevoked,omitempty"`

	Warnings []string `json:"warnings"`
	NextStep string   `json:"next_step"`
}

// A slot is a token or key in a report.
type slot struct {
	Fingerprint string    `json:"fingerprint"` // "" for one that a dry run made
	KeyID       string    `json:"kid,omitempty"`
	KeyIDs      []string  `json:"kids,omitempty"` // all of them, if there are several
	Algorithm   string    `json:"alg,omitempty"`  // of a key
	Revoked     bool      `json:"revoked,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	LeftSeconds *int64    `json:"left_seconds,omitempty"` // until then; 0 when it has passed
}

// report prints what the step did. Standard output of the filter is the Secret's, except
// for status. list says that there are several sources.
func (r *request) report(sources []content.Source, changes []change, list bool) error {
	out := r.stdout
	if r.path == "" && !r.readOnly() {
		out = r.stderr
	}
	bad := false
	reports := make([]*report, len(changes))
	for i, ch := range changes {
		reports[i] = r.describe(sources[i].Name, ch, time.Now())
		bad = bad || ch.bad
	}
	if err := printReports(out, r.stderr, r.output, reports, list); err != nil {
		return err
	}
	if bad {
		return exitcode.Refused
	}
	return nil
}

// describe returns the report of ch at now.
func (r *request) describe(target string, ch change, now time.Time) *report {
	c, noun := ch.to, ch.to.Kind.Noun()
	rep := &report{
		Schema: reportSchema, Step: r.name, Target: target, Client: c.Client, Kind: c.Kind, Changed: ch.changed, DryRun: r.dryRun, Summary: ch.summary,
		Next: []slot{}, Previous: []slot{}, Warnings: []string{}, NextStep: nextStep(c, now),
		Revoked: append([]string{}, fingerprints(c.Revoked)...), Retired: fingerprints(c.Retired), Unrevoked: fingerprints(c.Unrevoked),
	}
	var hidden content.Credential // made by a dry run; nobody will see it again
	if r.dryRun && !r.given {
		hidden = r.candidate
		rep.Summary = strings.ReplaceAll(rep.Summary, hidden.Fingerprint(), "a new "+noun)
	}
	if !ch.changed && !r.readOnly() {
		rep.Summary = "nothing changed: " + rep.Summary
	}
	warn := func(format string, args ...any) { rep.Warnings = append(rep.Warnings, fmt.Sprintf(format, args...)) }
	show := func(t content.Credential) slot {
		if t == hidden {
			return slot{Algorithm: t.Key().Algorithm()}
		}
		s := slot{Fingerprint: t.Fingerprint(), KeyID: t.Key().KeyID(), Algorithm: t.Key().Algorithm(), Revoked: c.Refuses(t)}
		if kids := t.KeyIDs(); len(kids) > 1 {
			s.KeyIDs = kids
		}
		return s
	}
	if c.HasCurrent() {
		current := show(c.Current)
		rep.Current = &current
	}
	for _, t := range c.Next {
		rep.Next = append(rep.Next, show(t))
		if _, was := c.Superseded(t); was {
			warn("the staged %s %s was superseded before; it is accepted until retire --slot next takes it out, and promote would make it current again", noun, t.Fingerprint())
		}
	}
	for _, t := range c.Listed {
		rep.Listed = append(rep.Listed, show(t))
	}
	for _, p := range c.Previous {
		s := show(p.Token)
		if p.Until.IsZero() {
			warn("the previous %s %s has no deadline and is accepted until it is retired", noun, s.Fingerprint)
		} else {
			left := max(int64(p.Until.Sub(now)/time.Second), 0)
			s.Until, s.LeftSeconds = p.Until.UTC(), &left
		}
		rep.Previous = append(rep.Previous, s)
	}
	if text := undone(c); text != "" {
		warn("%s; a tool that manages the source (kubectl apply, Flux, Helm) has put it back: change the %s there first, or stop that tool, and then stage and promote again", text, noun)
	}
	rep.Warnings = append(rep.Warnings, ch.warnings...)
	return rep
}

// nextStep says what to do after c.
func nextStep(c content.Content, now time.Time) string {
	noun := c.Kind.Noun()
	live := slices.ContainsFunc(c.Previous, func(s content.Superseded) bool { return s.Live(now) && !c.Refuses(s.Token) })
	goesBack := false
	if len(c.Next) == 1 {
		_, goesBack = c.Superseded(c.Next[0])
	}
	keys := len(accepted(c))
	switch {
	case len(c.Declared()) == 0:
		return "none: there is no token of " + rotation.ClientLabel(c.Client)
	case c.NoRoom != "":
		return "none: " + c.NoRoom
	case c.IsKeySet && keys == 0:
		return "stage, at once: every key is revoked"
	case c.IsKeySet && keys > 1:
		return "promote, which asks receivers with --agent, before signers change to a new key; retire --key, once everything that an old one signed has expired"
	case c.IsKeySet:
		return "stage, when it is time for the next rotation"
	case len(c.Next) > 0 && c.Next[0].ID() != c.Current.ID() && c.Refuses(c.Current):
		return "promote, at once: the current " + noun + " is revoked"
	case c.Refuses(c.Current):
		return "stage and promote, at once: the current " + noun + " is revoked and nothing else takes its place"
	case undone(c) != "":
		return "stage and promote, once nobody puts the old " + noun + " back"
	case nextIsCurrent(c):
		return "promote, to finish a step that was cut short: the staged " + noun + " is current already"
	case goesBack:
		return "retire --slot next, once nobody sends the staged " + noun + ", which was superseded before; or promote, to make it current again"
	case len(c.Next) > 0:
		return "promote, once every receiver has the new " + noun + " (--agent asks them; a mounted Secret takes up to 90 s)"
	case live && c.Kind == content.Keys:
		return "let signers change to the new key; then retire, once everything that the old key signed has expired, or let its deadline pass"
	case live:
		return "retire, once no sender uses the old token (--agent asks the receivers), or let its deadline pass"
	case len(c.Previous) > 0:
		return "retire, to clear away what is no longer accepted"
	default:
		return "stage, when it is time for the next rotation"
	}
}

// printReports writes reports to w: as text, with their warnings on stderr, or as JSON.
// Several are one object, with those of a List under secrets, and those of one source under
// clients.
func printReports(w, stderr io.Writer, form string, reports []*report, list bool) error {
	if form != choice.JSON {
		for _, r := range reports {
			for _, text := range r.Warnings {
				termsafe.Fprintf(stderr, "tokenagent: warning: %s: %s\n", r.title(), text)
			}
		}
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
	several := struct {
		Schema  int       `json:"schema"`
		Step    string    `json:"step"`
		Secrets []*report `json:"secrets,omitempty"`
		Clients []*report `json:"clients,omitempty"`
	}{Schema: reportSchema, Step: reports[0].Step, Clients: reports}
	if list {
		several.Secrets, several.Clients = reports, nil
	}
	return e.Encode(several)
}

// title returns the target and the name of the client, if it has one.
func (r *report) title() string {
	if r.Client == "" {
		return r.Target
	}
	return r.Target + ", client " + r.Client
}

func (r *report) print(w io.Writer) error {
	mark := ""
	if r.DryRun {
		mark = "dry run, nothing written: "
	}
	termsafe.Fprintf(w, "%s: %s%s\n", r.title(), mark, r.Summary)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, text string) { termsafe.Fprintf(t, "  %s\t%s\n", name, text) }
	slots := func(name string, all ...slot) {
		for _, s := range all {
			line(name, s.text(r.Kind.Noun()))
		}
	}
	digests := func(name string, all []string) {
		if len(all) > 0 {
			line(name, content.ShortList(all))
		}
	}
	if r.Current != nil {
		slots("current", *r.Current)
	}
	slots("next", r.Next...)
	slots("previous", r.Previous...)
	slots("listed", r.Listed...)
	digests("revoked", r.Revoked)
	digests("retired", r.Retired)
	digests("unrevoked", r.Unrevoked)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "next: %s\n", termsafe.Text(r.NextStep))
	return err
}

// text returns s for people. noun is what a credential of its kind is called.
func (s slot) text(noun string) string {
	text := s.Fingerprint
	if text == "" {
		text = "a new " + noun
	}
	if s.Algorithm != "" {
		text += ", " + s.Algorithm
	}
	if len(s.KeyIDs) > 0 {
		text += fmt.Sprintf(", kid %q", s.KeyIDs)
	} else if s.KeyID != "" {
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
