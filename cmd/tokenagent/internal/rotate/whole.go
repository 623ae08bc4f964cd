package rotate

import (
	"fmt"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/token"
)

// wholeOverlap is the default of --overlap for a whole rotation. It is far longer than a
// rollout and its rollback take, since retire ends it as soon as nobody uses the old token.
const wholeOverlap = 24 * time.Hour

// whole does the steps of a whole rotation, by the flags of r.
type whole struct {
	*request
	made    map[string]made // by earlier attempts to stage, by the name of the first source
	isSaved bool            // private is in its file
}

// made is a token or key that was made for sources, and the private key that belongs to it.
type made struct {
	candidate content.Credential
	private   token.Token
}

// step does the named step for sources that share a token; see [auto.Options].
func (w *whole) step(name string, sources []content.Source, at time.Time) (out []content.Content, err error) {
	for _, s := range sources {
		if s.Kind != sources[0].Kind {
			return nil, fmt.Errorf("%s has %s, and %s has %s; rotate them one after the other", sources[0].Name, sources[0].Kind, s.Name, s.Kind)
		}
	}
	r := w.request
	r.at = at
	if r.overlap == unset && sources[0].Kind == content.Tokens {
		r.overlap = wholeOverlap
	}
	switch name {
	case "stage":
		if err = r.prepareOverlap(sources); err == nil {
			err = w.prepareStage(sources)
		}
		r.do = stage
	case "promote":
		err = r.prepareOverlap(sources)
		r.do = promote
	case "extend":
		err = r.prepareOverlap(sources)
		r.do = extend
	case "retire":
		r.do, r.slot = retire, slotPrevious
	case "unstage":
		r.do, r.slot = retire, slotNext
	case "return":
		err = r.prepareOverlap(sources)
		r.do = goBack
	}
	if err != nil {
		return nil, err
	}
	together := [][]content.Source{sources}
	if name == "unstage" || name == "return" { // what was current before may differ
		together = nil
		for _, s := range sources {
			together = append(together, []content.Source{s})
		}
	}
	for _, some := range together {
		changes, err := r.plan(some)
		if err != nil {
			return nil, err
		}
		for _, ch := range changes {
			out = append(out, ch.to)
		}
	}
	return out, nil
}

// prepareStage does not make another token or key when staging is tried again.
func (w *whole) prepareStage(sources []content.Source) error {
	r := w.request
	if err := r.prepareStage(sources); err != nil || r.given {
		return err
	}
	name := sources[0].Name
	if before, is := w.made[name]; is {
		r.candidate, r.private = before.candidate, before.private
		return nil
	}
	if w.made == nil {
		w.made = map[string]made{}
	}
	w.made[name] = made{r.candidate, r.private}
	return nil
}

// savePrivate writes the private key that belongs to the key that will be staged.
func (w *whole) savePrivate() error {
	if w.private.Reveal() == "" || w.isSaved {
		return nil
	}
	if err := keygen.WriteNew(w.privateOut, []byte(w.private.Reveal()), 0o600); err != nil {
		return fmt.Errorf("--private-out: %w", err)
	}
	w.isSaved = true
	return nil
}

// goBack makes the previous token current again, and the current one, or the one that is
// staged, previous. Receivers accept both all the time. It finishes what was cut short. The
// digest of the new token is retired beside its slot, by which the next abort knows that it has
// nothing to do.
func goBack(c content.Content, o options) (change, error) {
	gone, until := c.Current, o.until
	if len(c.Next) == 1 && c.Next[0].ID() == c.Current.ID() && !c.IsReturning() { // a promotion or this was cut before its last write
		c.Next = nil
	}
	isOne := len(c.Previous) == 1
	switch {
	case c.IsReturning() && c.Next[0].ID() == c.Current.ID():
		gone = c.Previous[0].Token
	case c.IsReturning():
		c.Current = c.Next[0]
	case isOne && c.IsTakenBack(c.Previous[0].Token.ID()):
		gone, until = c.Previous[0].Token, c.Previous[0].Until
	case len(c.Next) == 1:
		gone = c.Next[0]
	case isOne:
		c.Current = c.Previous[0].Token
	default:
		return refuse("there is no one previous %s to go back to", c.Kind.Noun())
	}
	c.Next, c.Previous = nil, []content.Superseded{{Token: gone, Until: until}}
	if !c.NoDigests {
		c.Retired = append(withoutID(c.Retired, gone.ID()), gone.ID())
	}
	return done(c, "%s is current again, and %s is accepted%s", c.Current.Fingerprint(), gone.Fingerprint(), deadline(c.Previous[0]))
}
