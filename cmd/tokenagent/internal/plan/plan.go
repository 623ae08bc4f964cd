// Package plan is the command that says how long to wait in a rotation: between
// stage and promote, and until the old token may go. It derives the shortest
// safe times from how receivers and senders come by a new token, and simulates
// rotations to show what shorter ones would refuse.
//
// A flag becomes part of a model; its limits are a closed form (see model), the
// simulation draws from the same model, and a test holds the two together. Safe is
// what the closed form says is safe and the simulation does not contradict.
package plan

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// Command returns the command plan.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say how long to wait in a rotation, and what a shorter wait would refuse",
		Long: `plan prints the shortest safe time between 'rotate stage' and 'rotate promote', and
the shortest safe overlap: how long the old token must stay accepted after the
promotion. It simulates rotations too, and prints the chance that one refuses a
request, for the times that it recommends or for those of --stage-wait, --overlap
and --max-overlap.

Receivers read a mounted Secret, or with --kubelet-sync 0s a file. Senders are
restarted after the change (--sender restart), restarted by tokenagent exec
(exec), or use the library's transport (transport). A DIST is one of
  fixed:D              always D
  uniform:D..D         evenly between the two
  exponential:MEAN     without memory, and without an upper limit
  normal:MEAN,SD       without an upper limit, too
  samples:FILE         as often as in FILE, which has a duration on each line

Protocols: staged is stage, wait, promote, wait, retire. now is 'rotate now', all in
one step, so that receivers can be sent a token that they do not know yet. replace
writes the new token over the old one, which each agent remembers: for a fixed
--overlap, or with --sliding, as agents do by default, up to its --max-overlap.

The times are what to expect; 'rotate promote --agent' and 'rotate retire --agent' ask
the receivers themselves.

The same flags and --seed give the same answer. Exit code 0 means that there is an
answer, safe or not: 'safe' of --output json says which.`,
		Example: `  tokenagent plan --replicas 200 --sender-restart uniform:0s..30m
  tokenagent plan --sender exec --kubelet-sync 10s --watch events
  tokenagent plan --overlap 5m --sender-restart samples:restarts.txt --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.changed = cmd.Flags().Changed
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *flags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if f.output != "text" && f.output != "json" {
		return fail.Usage("--output must be text or json")
	}
	m, err := f.model(readFile)
	if err != nil {
		return err
	}
	p, err := f.propose(m)
	if err != nil {
		return err
	}
	n := f.rotations
	if n == 0 {
		n = rotationsFor(m, p.settings())
	}
	show := newProgress(stderr, n)
	res, err := simulate(ctx, m, p.settings(), n, f.seed, show.report)
	show.end()
	if err != nil {
		return err
	}
	a := newAnswer(f, m, p, res)
	if f.output == "json" {
		return a.writeJSON(stdout)
	}
	return a.writeText(stdout)
}

// maxFile bounds a file of samples. A line of it has some 5 bytes.
const maxFile = 64 << 20

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}
