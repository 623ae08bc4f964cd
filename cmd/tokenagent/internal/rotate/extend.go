package rotate

import (
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

func (r *request) addExtend(f *pflag.FlagSet) {
	f.DurationVar(&r.overlap, "overlap", unset, "how long from now the old one stays accepted; must be given for verification keys")
	f.Lookup("overlap").DefValue = agent.DefaultOverlap.String()
	f.StringVar(&r.untilFlag, "until", "", "accept the old one until `TIME` (RFC 3339) instead")
}

// extend moves the deadline of what was superseded to a later time, and never to an earlier
// one. In a file that has several it moves those that are accepted. If none is any more, it
// moves the last one, which is accepted again then.
func extend(c content.Content, o options) (change, error) {
	noun := c.Kind.Noun()
	isOpen := func(s content.Superseded) bool { return !c.Refuses(s.Token) && s.Token.ID() != c.Current.ID() }
	last := -1
	for i, s := range c.Previous {
		switch {
		case !isOpen(s):
		case s.Until.IsZero():
			return done(c, "%s is accepted without a deadline", s.Token.Fingerprint())
		case last < 0 || s.Until.After(c.Previous[last].Until):
			last = i
		}
	}
	switch {
	case c.IsKeySet:
		return refuse("a key set has no deadlines; its keys are accepted until they are retired")
	case last < 0 && len(c.Next) > 0:
		return refuse("no previous %s is there, because the staged one is not promoted yet; the deadline begins with promote", noun)
	case last < 0:
		return refuse("no previous %s is there whose deadline could move; to accept an old one again, stage it with --from", noun)
	case !c.Previous[last].Until.Before(o.until):
		return done(c, "the deadline of %s is %s, and extend does not move it to an earlier time; retire ends it", c.Previous[last].Token.Fingerprint(), content.Deadline(c.Previous[last].Until))
	}
	var ch change
	if s := c.Previous[last]; !s.Live(o.now) {
		ch.warnings = []string{s.Token.Fingerprint() + " was refused since " + content.Deadline(s.Until) + ", and is accepted again"}
	}
	var moved []content.Credential
	for i, s := range c.Previous {
		if isOpen(s) && (i == last || s.Live(o.now)) && s.Until.Before(o.until) {
			c.Previous[i].Until = o.until
			moved = append(moved, s.Token)
		}
	}
	ch.summary = "extended the deadline of " + fingerprintsOf(moved) + " to " + content.Deadline(o.until)
	ch.to = c
	return ch, nil
}
