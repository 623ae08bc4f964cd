package rotate

import (
	"fmt"
	"slices"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
)

// show reports the state of the client that is named, or of every client.
func (r *request) show(t store.Store) error {
	sources := t.Sources()
	warnings := t.Warnings(make([][]content.Write, len(sources)))
	names := []string{r.read.Client}
	if r.read.Client == "" {
		names = nil
		for _, s := range sources {
			names = append(names, s.Clients()...)
		}
		slices.Sort(names)
		names = slices.Compact(names)
	}
	var shown []content.Source
	var changes []change
	for _, name := range names {
		var having []content.Source
		var at []int // their places in sources
		for i, s := range sources {
			if s, has := s.Of(name); has {
				having, at = append(having, s), append(at, i)
			}
		}
		states, err := r.plan(having)
		if err != nil {
			return err
		}
		for i := range states { // once for each source
			states[i].warnings = append(states[i].warnings, warnings[at[i]]...)
			warnings[at[i]] = nil
		}
		shown, changes = append(shown, having...), append(changes, states...)
	}
	if len(shown) == 0 {
		return requireClient(sources[0])
	}
	return r.report(shown, changes, len(sources) > 1)
}

// status says whether the source is good.
func status(c content.Content, _ options) (change, error) {
	ch, err := done(c, "good")
	switch text := undone(c); {
	case c.IsKeySet && len(accepted(c)) == 0:
		ch.bad, ch.summary = true, "bad: every key is revoked"
	case !c.IsKeySet && c.Refuses(c.Current):
		ch.bad, ch.summary = true, "bad: the current "+c.Kind.Noun()+" is revoked"
	case text != "":
		ch.summary = "good, but " + text
	}
	return ch, err
}

// undone says that somebody put an old token back as the current one, and "" if nobody
// did. Any tool that keeps a Secret may do that. While a token is staged, it may also be a
// promotion in a directory that was cut short.
func undone(c content.Content) string {
	_, isPrevious := c.Superseded(c.Current)
	was := "the previous one"
	switch {
	case c.IsKeySet || isPrevious && len(c.Next) > 0:
		return ""
	case isPrevious:
	case slices.Contains(c.Retired, c.Current.ID()):
		was = "one that was retired"
	default:
		return ""
	}
	return fmt.Sprintf("the rotation was undone: the current %s, %s, is %s", c.Kind.Noun(), c.Current.Fingerprint(), was)
}
