package rotate

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/pkg/rotation"
)

type retireStep struct {
	ungated
	gateFlags
	idle      time.Duration
	slot, key string
}

// meet holds --key to key sets, where no key is previous.
func (s *retireStep) meet(_ context.Context, all []content.Content, _ content.Options) error {
	switch c := all[0]; {
	case s.slot == rotation.Next.String():
		return s.meetNext(c)
	case c.Set && s.key == "":
		return fail.Usage("--key is missing: of a key set name the one that goes, by its kid or fingerprint, once everything that it signed has expired")
	case c.Set && len(s.Agents) > 0:
		return fail.Usage("--agent cannot tell who uses a key of a set, since agents record uses of a previous one alone; leave it out, and wait until what the key signed has expired")
	case !c.Set && s.key != "":
		return fail.Usage("--key goes with key sets; here the previous %s is what goes", c.Kind.Noun())
	}
	return nil
}

// meetNext holds the other flags to --slot next.
func (s *retireStep) meetNext(c content.Content) error {
	switch {
	case c.Set:
		return fail.Usage("a key set has no slots; --key names the one that goes")
	case s.key != "":
		return fail.Usage("--key goes with key sets; here it is the staged %s that goes", c.Kind.Noun())
	case len(s.Agents) > 0:
		return fail.Usage("--agent goes with --slot previous: of a staged %s agents record no use", c.Kind.Noun())
	}
	return nil
}

func (s *retireStep) prepare(context.Context, input) error {
	if s.slot != rotation.Previous.String() && s.slot != rotation.Next.String() {
		return fail.Usage("--slot must be previous or next; senders send the current one, which promote replaces")
	}
	if s.idle == unset {
		s.idle = 0 // the agents' overlap decides
	} else if s.idle <= 0 {
		return fail.Usage("--idle must be positive")
	}
	return s.gateFlags.read()
}

func (s *retireStep) plan(c content.Content, _ bool, now time.Time) (change, error) {
	if s.slot == rotation.Next.String() {
		return unstage(c, now)
	}
	if c.Set {
		return retireKey(c, s.key)
	}
	return retire(c)
}

func (s *retireStep) pass(ctx context.Context, from, _ content.Content) error {
	var old []string
	for _, p := range from.Previous {
		old = append(old, print8(p.Token))
	}
	return s.Pass(ctx, gate.Unused(print8(from.Current), old, s.idle))
}

func retireCommand() *cobra.Command {
	var s retireStep
	r := &run{name: "retire", step: &s}
	cmd := r.command("retire", "End the overlap: accept nothing superseded any more",
		`retire takes the previous token out, in a file all of them, whether their deadlines
have come or not. Receivers refuse it then. --agent asks receivers, and refuses unless
all of them have the current token and have seen no use of the old one for --idle. An
agent that started or changed less than --idle ago cannot know, and must watch longer.

The digest of what was retired goes into token-retired (in a file a line "retired",
for keys the key retired), which keeps the last 16: an agent that missed the promotion
would otherwise remember the old token for an overlap of its own.

--slot next takes the staged token out instead, and revokes nothing: stage is undone.
One that is previous as well is accepted until its deadline then, and one that the
source lists stays accepted.

A verification key is in use for as long as tokens that it signed are sent; those that
an agent knows from before count, too. From a key set --key takes a key out; agents
record no use of such keys, so wait until everything that it signed has expired.`)
	s.gateFlags.add(cmd.Flags())
	cmd.Flags().DurationVar(&s.idle, "idle", unset, "with --agent: how long the old one must not have been used")
	cmd.Flags().Lookup("idle").DefValue = "15m, or half of the overlap where that is less"
	cmd.Flags().StringVar(&s.slot, "slot", rotation.Previous.String(), "take out what is in `SLOT`: previous or next")
	cmd.Flags().StringVar(&s.key, "key", "", "of a key set: take out the key with this `KID` (any of its names), fingerprint or thumbprint")
	return cmd
}
