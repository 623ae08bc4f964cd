package rotate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A change is what a step makes of a content, which it leaves as it was.
type change struct {
	to       content.Content
	changed  bool
	summary  string
	warnings []string
	// ask tells that agents are asked although nothing changes: what follows is
	// for people to do.
	ask bool
	// promoted tells that another token or key becomes current.
	promoted bool
	// made tells that the key of the request is staged, whose private half is to be written.
	made bool
}

// unchanged is the change of a step that finds its work done.
func unchanged(c content.Content, format string, args ...any) (change, error) {
	return change{to: c, summary: fmt.Sprintf(format, args...)}, nil
}

func refuse(format string, args ...any) (change, error) {
	return change{}, fmt.Errorf(format, args...)
}

// stage puts a token or a key into slot next.
func (r *request) stage(c content.Content, _ bool, _ time.Time) (change, error) {
	if c.Set {
		return r.addKey(c)
	}
	staged := slices.DeleteFunc(slices.Clone(c.Next), c.Refuses)
	if nextIsCurrent(c) {
		staged = nil
	}
	noun := c.Kind.Noun()
	id := r.token.ID()
	switch {
	case r.given && c.Refuses(r.token):
		return refuse("the %s %s is revoked; give another one", noun, r.token.Fingerprint())
	case r.given && id == c.Current.ID():
		return unchanged(c, "%s is the current %s already", r.token.Fingerprint(), noun)
	case r.given && len(c.Next) == 1 && id == c.Next[0].ID():
		return unchanged(c, "%s is staged already", r.token.Fingerprint())
	case r.replace || len(staged) == 0:
	case len(staged) > 1:
		return refuse("%d %ss are staged, %s; leave one of them, or stage a single one with --replace", len(staged), noun, prints(staged))
	case r.given:
		return refuse("another %s, %s, is staged; promote it first, or put yours in its place with --replace", noun, staged[0].Fingerprint())
	default:
		return unchanged(c, "%s is staged already", staged[0].Fingerprint())
	}
	to := c.Clone()
	to.Next = []content.Credential{r.token}
	retireGone(c, &to)
	return change{to: to, changed: true, made: true, summary: "staged " + r.token.Fingerprint() + " as the next " + noun}, nil
}

// promote makes the staged token current and the current one previous.
func (r *request) promote(c content.Content, onePrevious bool, now time.Time) (change, error) {
	if c.Set {
		return r.promoteInSet(c)
	}
	noun, until := c.Kind.Noun(), r.deadline(now)
	if nextIsCurrent(c) && (r.expect == "" || r.expect == c.Current.Fingerprint()) {
		return finish(c)
	}
	if r.expect != "" && r.expect == c.Current.Fingerprint() {
		return unchanged(c, "%s is the current %s already", r.expect, noun)
	}
	if len(c.Next) == 0 {
		return r.noneStaged(c, now)
	}
	n := c.Next[0]
	switch {
	case len(c.Next) > 1:
		return refuse("%d %ss are staged, %s; leave one of them, or stage a single one with --replace", len(c.Next), noun, prints(c.Next))
	case r.expect != "" && r.expect != n.Fingerprint():
		return refuse("the staged %s is %s and not %s as --expect says; look who staged it (tokenagent rotate status)", noun, n.Fingerprint(), r.expect)
	case c.Refuses(n):
		return refuse("the staged %s, %s, is revoked; stage another, which takes its place", noun, n.Fingerprint())
	}
	to := c.Clone()
	to.Current, to.Next = n, nil
	older := slices.DeleteFunc(to.Previous, func(s content.Superseded) bool {
		id := s.Token.ID()
		return !s.Live(now) || id == n.ID() || id == c.Current.ID() || c.Refuses(s.Token)
	})
	if r.dropPrevious {
		older = nil
	}
	to.Previous = older
	ch := change{changed: true, promoted: true, summary: fmt.Sprintf("promoted %s", n.Fingerprint())}
	if _, was := c.Superseded(n); was {
		ch.warnings = append(ch.warnings, fmt.Sprintf("%s was superseded before, and this goes back to it", n.Fingerprint()))
	}
	if c.Refuses(c.Current) {
		ch.summary += fmt.Sprintf("; %s is revoked and stays refused", c.Current.Fingerprint())
	} else {
		if onePrevious && len(older) > 0 {
			return refuse("%s is still accepted as the previous %s%s, and there is room for one; retire it first, or refuse it from now on with --drop-previous",
				older[0].Token.Fingerprint(), noun, deadline(older[0]))
		}
		to.Previous = append([]content.Superseded{{Token: c.Current, Until: until}}, older...)
		ch.summary += "; " + c.Current.Fingerprint() + " is accepted until " + content.Deadline(until)
		if !now.Before(until) {
			ch.summary = fmt.Sprintf("promoted %s; %s is accepted no more", n.Fingerprint(), c.Current.Fingerprint())
		}
	}
	to.Listed = without(to.Listed, c.Current.ID(), n.ID())
	retireGone(c, &to)
	ch.to = to
	return ch, nil
}

// nextIsCurrent reports whether what is staged is current already. A promotion or a
// revocation in a directory that was cut short before its last write leaves that.
func nextIsCurrent(c content.Content) bool {
	return len(c.Next) == 1 && c.Next[0].ID() == c.Current.ID() && !c.Refuses(c.Current)
}

// finish makes the last write of a promotion that was cut short: nothing is staged.
func finish(c content.Content) (change, error) {
	to := c.Clone()
	to.Next = nil
	summary := fmt.Sprintf("promoted %s", c.Current.Fingerprint())
	if len(c.Previous) > 0 && !c.Previous[0].Until.IsZero() {
		summary += fmt.Sprintf("; %s is accepted%s", c.Previous[0].Token.Fingerprint(), deadline(c.Previous[0]))
	}
	return change{to: to, changed: true, summary: summary}, nil
}

// noneStaged tells a promotion that was done from one that has nothing to promote.
func (r *request) noneStaged(c content.Content, now time.Time) (change, error) {
	// A promotion leaves a previous token with a deadline, which a short overlap
	// has behind it soon, and none at once.
	var last content.Superseded
	for _, s := range c.Previous {
		if s.Until.After(last.Until) {
			last = s
		}
	}
	switch {
	case r.expect != "" || last.Until.IsZero():
	case last.Live(now):
		return unchanged(c, "promoted already: %s is current, and %s is accepted%s", c.Current.Fingerprint(), last.Token.Fingerprint(), deadline(last))
	default:
		ch, err := unchanged(c, "promoted already: %s is current, and %s was accepted%s", c.Current.Fingerprint(), last.Token.Fingerprint(), deadline(last))
		// A rotation of long ago that nobody retired looks the same.
		ch.warnings = []string{"nothing is staged, and the last rotation is over: if another one was meant, stage first"}
		return ch, err
	}
	if r.expect != "" {
		return refuse("%s, as --expect says, is neither staged nor current; look who was here (tokenagent rotate status), and stage first", r.expect)
	}
	return refuse("no %s is staged; stage one first, and promote it once every receiver has it", c.Kind.Noun())
}

// retire ends the overlap: no superseded token is accepted any more.
func (r *request) retire(c content.Content, _ bool, now time.Time) (change, error) {
	switch {
	case r.slot == rotation.Next.String():
		return unstage(c, now)
	case c.Set:
		return retireKey(c, r.key)
	}
	if len(c.Previous) == 0 {
		return unchanged(c, "there is no previous %s; nothing to retire", c.Kind.Noun())
	}
	to := c.Clone()
	to.Previous = nil
	var old []content.Credential
	for _, s := range c.Previous {
		old = append(old, s.Token)
	}
	retireGone(c, &to)
	return change{to: to, changed: true, summary: "retired " + prints(old)}, nil
}

// maxRetired is how many retired digests are kept: as many rotations as an agent
// may have missed.
const maxRetired = 16

// retireGone writes down what was staged or previous in from, or a key of its set,
// and is in no slot of to: an agent that missed the promotion would otherwise
// remember it for a window of its own. What is revoked needs no such word. A token
// that is previous no more is not listed either: its deadline held for the copy, too.
func retireGone(from content.Content, to *content.Content) {
	gone := slices.Clone(from.Next)
	if from.Set {
		gone = slices.Clone(from.Listed)
	}
	for _, s := range from.Previous {
		gone = append(gone, s.Token)
		if _, kept := to.Superseded(s.Token); !kept {
			to.Listed = without(to.Listed, s.Token.ID())
		}
	}
	if to.Bare && to.Kind == content.Keys {
		return
	}
	for _, t := range gone {
		if id := t.ID(); !to.Refuses(t) && !isIn(to.Declared(), id) {
			to.Retired = append(slices.DeleteFunc(to.Retired, func(r rotation.ID) bool { return r == id }), id)
		}
	}
	to.Retired = to.Retired[max(len(to.Retired)-maxRetired, 0):]
}

func isIn(all []content.Credential, id rotation.ID) bool {
	return slices.ContainsFunc(all, func(t content.Credential) bool { return t.ID() == id })
}

// settle takes out of the retired ones what is in a slot, and so is not retired.
func (ch *change) settle() {
	if declared := ch.to.Declared(); ch.changed {
		ch.to.Retired = slices.DeleteFunc(slices.Clone(ch.to.Retired), func(id rotation.ID) bool { return isIn(declared, id) })
	}
}

// unstage takes out what is staged: stage is undone.
func unstage(c content.Content, now time.Time) (change, error) {
	if len(c.Next) == 0 {
		return unchanged(c, "no %s is staged; nothing to take out", c.Kind.Noun())
	}
	to := c.Clone()
	to.Next = nil
	ch := change{changed: true, summary: "took out " + prints(c.Next) + ", which was staged"}
	for _, t := range c.Next {
		switch old, was := c.Superseded(t); {
		case was && old.Live(now):
			ch.summary += "; " + t.Fingerprint() + " is accepted" + deadline(old)
		case !was && isIn(c.Listed, t.ID()):
			ch.summary += "; " + t.Fingerprint() + " is listed, too, and stays accepted"
		}
	}
	retireGone(c, &to)
	ch.to = to
	return ch, nil
}

// now is stage and promote in one. Unlike them it is something new each time,
// so that within an overlap it takes a word more.
func (r *request) now(c content.Content, onePrevious bool, now time.Time) (change, error) {
	if c.Set {
		return refuse("a key set has no current key; stage, wait for the receivers, let signers change, wait for what the old key signed to expire, and retire it")
	}
	for _, old := range c.Previous {
		if !r.again && old.Live(now) && !c.Refuses(old.Token) && old.Token.ID() != c.Current.ID() {
			return refuse("the last rotation is still under way: %s is accepted%s; retire it first, or rotate all the same with --again%s",
				old.Token.Fingerprint(), deadline(old), alsoDrop(onePrevious))
		}
	}
	staged, err := r.stage(c, onePrevious, now)
	if err != nil {
		return change{}, err
	}
	if r.given && r.token.ID() == c.Current.ID() {
		return staged, nil // current already, whatever is staged
	}
	ch, err := r.promote(staged.to, onePrevious, now)
	ch.made = staged.made
	return ch, err
}

func alsoDrop(onePrevious bool) string {
	if onePrevious {
		return " --drop-previous, which refuses it"
	}
	return ""
}

func deadline(s content.Superseded) string {
	if s.Until.IsZero() {
		return " without a deadline"
	}
	return " until " + content.Deadline(s.Until)
}

func without(tokens []content.Credential, ids ...rotation.ID) []content.Credential {
	return slices.DeleteFunc(tokens, func(t content.Credential) bool { return slices.Contains(ids, t.ID()) })
}

func prints(tokens []content.Credential) string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = t.Fingerprint()
	}
	return content.Some(out)
}

var errManyRevoked = errors.New("1000 revocations are there already; take old ones out that nobody accepts any more, with --forget DIGEST")

// undone says that somebody put an old token back under the current one, and ""
// where nobody did. No step leaves that behind: a forced server-side apply does,
// or any other tool that keeps a Secret.
func undone(c content.Content) string {
	if _, was := c.Superseded(c.Current); was && !c.Set {
		return fmt.Sprintf("the rotation was undone: the current %s, %s, is the previous one", c.Kind.Noun(), c.Current.Fingerprint())
	}
	if !c.Set && slices.Contains(c.Retired, c.Current.ID()) {
		return fmt.Sprintf("the rotation was undone: the current %s, %s, is one that was retired", c.Kind.Noun(), c.Current.Fingerprint())
	}
	return ""
}
