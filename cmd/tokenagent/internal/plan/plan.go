// Package plan is the command plan. It calculates how long to wait in a rotation, before
// the promotion and until the old token may go, and simulates what shorter waits refuse.
//
// The limits are a closed form (see model). The simulation draws from the same model, and
// a test compares the two. Times are safe if the closed form says so and the simulation
// refuses nothing.
package plan

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

// Command returns the command plan.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say how long to wait in a rotation, and what a shorter wait would refuse",
		Long: `plan prints the shortest safe time between 'rotate stage' and 'rotate promote', and
the shortest safe overlap: how long the old token must stay accepted after the
promotion. It also simulates rotations and prints the chance that one refuses a
request, for the times that it recommends or for those of --stage-wait, --overlap
and --max-overlap.

Receivers read a mounted Secret, or with --kubelet-sync 0s a file. Senders are
restarted after the change (--sender restart), restarted by tokenagent exec
(exec), or use the library's transport (transport). A DIST is one of
  fixed:D              always D
  uniform:D..D         evenly between the two
  exponential:MEAN     memoryless, without an upper limit
  normal:MEAN,SD       without an upper limit
  samples:FILE         as often as in FILE, which has a duration on each line

The protocol staged is stage, wait, promote, wait, retire. now is 'rotate now': all in
one step, so that a receiver can get a token that it does not know yet. replace writes
the new token over the old one, which each agent remembers for a fixed --overlap. With
--sliding, the agents' default, uses of the old token extend it up to --max-overlap.

The times are what to expect; 'rotate promote --agent' and 'rotate retire --agent' ask
the receivers themselves.

The same flags and --seed give the same answer. Exit code 0 means that there is an
answer, safe or not: 'safe' in --output json says which.`,
		Example: `  tokenagent plan --replicas 200 --sender-restart uniform:0s..30m
  tokenagent plan --sender exec --kubelet-sync 10s --watch events
  tokenagent plan --overlap 5m --sender-restart samples:restarts.txt --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *flags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := f.read(); err != nil {
		return err
	}
	a, err := f.propose()
	if err != nil {
		return err
	}
	all := a.settings()
	n := f.rotations
	if n == 0 {
		n = f.rotationsFor(all)
	}
	sim, refused, err := f.simulate(ctx, all, n, f.seed, stderr)
	if err != nil {
		return err
	}
	a.Simulation = sim
	a.judge(f.restartAssumed, all, refused)
	if f.output == "json" {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(a)
	}
	_, err = io.WriteString(stdout, a.text())
	return err
}
