// Package plan implements the command plan. It calculates how long to wait in a rotation
// before the promotion and before the old token is retired. It also simulates which requests
// shorter waits refuse.
//
// The shortest safe times have a closed form (model.limits). The simulation draws from the
// same model, and a test compares the two. Times are called safe if the closed form says so
// and the simulation refuses nothing.
package plan

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
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

plan estimates; 'rotate promote --agent' and 'rotate retire --agent' ask the receivers.

The same flags and --seed give the same answer. Exit code 0 means that there is an
answer, safe or not: 'safe' in --output json says which.`,
		Example: `  tokenagent plan --replicas 200 --sender-restart uniform:0s..30m
  tokenagent plan --sender exec --kubelet-sync 10s --watch events
  tokenagent plan --overlap 5m --sender-restart samples:restarts.txt --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *flags) run(ctx context.Context, stdout io.Writer) error {
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
	var refused []refusal
	if a.Simulation, refused, err = f.simulate(ctx, all, n, f.seed); err != nil {
		return err
	}
	a.judge(all, refused)
	if f.output == choice.JSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(a)
	}
	_, err = io.WriteString(stdout, a.text())
	return err
}

const maxCount = 100_000

// flags are the flags of plan and the model that they describe.
type flags struct {
	model
	set                      *pflag.FlagSet
	replicas, rotations      int // 0 if not given
	detection, watch, output string
	seed                     uint64
}

func (f *flags) add(fs *pflag.FlagSet) {
	f.set = fs
	fs.SortFlags = false
	choice.Add(fs, &f.Protocol, "protocol", "`NAME` of the protocol: staged, now or replace", staged, now, replace)
	fs.IntVar(&f.replicas, "replicas", 0, "`N` processes that both check and send tokens, as pods with Dapr do; replaces --receivers and --senders")
	fs.IntVar(&f.Receivers, "receivers", 3, "`N` receivers, which check tokens; at most 100000")
	fs.IntVar(&f.Senders, "senders", 3, "`N` senders; at most 100000")
	fs.IntVar(&f.Newcomers, "newcomers", 1, "`N` more senders that start just after the change, after a crash or a scale-up")
	fs.StringVar(&f.Delivery, "delivery", "fixed:0s", "`DIST` of the time until a change reaches the cluster, or the file on each machine")
	fs.Duration("kubelet-sync", time.Minute, "`DURATION` of the kubelet's syncFrequency; 0s means a file and no kubelet")
	choice.Add(fs, &f.detection, "detection", "`STRATEGY` of the kubelet's configMapAndSecretChangeDetectionStrategy: watch, cache or get", "watch", "cache", "get")
	fs.Duration("cache-ttl", time.Minute, "`DURATION` of the kubelet's cache with --detection cache: the node's annotation node.alpha.kubernetes.io/ttl")
	choice.Add(fs, &f.watch, "watch", "`MODE` of the agents: poll, or events if watch_mode is events on every agent", "poll", "events")
	fs.Duration("poll-interval", 10*time.Second, "`DURATION` of the agents' --poll-interval")
	fs.Duration("debounce", time.Second, "`DURATION` of the agents' --debounce")
	choice.Add(fs, &f.Sender, "sender", "`KIND` of senders: restart, exec or transport", restarted, underExec, transport)
	fs.StringVar(&f.SenderRestart, "sender-restart", "", "`DIST` of the time from the change until a sender has restarted; with --sender exec, from the end of --restart-delay (default uniform:0s..10m, with exec uniform:0s..10s)")
	fs.Duration("restart-delay", 0, "`DURATION` of tokenagent exec's --restart-delay (default 15s, with a kubelet 2m)")
	fs.Duration("in-flight", 5*time.Second, "`DURATION` that a request with the old token may still take after its sender has changed to the new one")
	fs.Duration("clock-skew", time.Second, "`DURATION` by which two clocks differ at most")
	fs.Float64Var(&f.RequestRate, "request-rate", 1, "`RATE` in requests a second from each sender, to random receivers")
	fs.Duration("stage-wait", 0, "`DURATION` between stage and promote (default: the shortest safe one)")
	fs.Duration("overlap", 0, "`DURATION` of the overlap (default: the shortest safe one)")
	fs.BoolVar(&f.Sliding, "sliding", false, "the agents' overlap slides, as it does by default (with --protocol replace)")
	fs.Duration("max-overlap", 0, "`DURATION` of the agents' --max-overlap, with --sliding (default: the shortest safe one)")
	fs.Float64Var(&f.Risk, "risk", 1e-6, "`PROBABILITY` that a rotation may refuse anything, if no time is safe")
	fs.IntVar(&f.rotations, "rotations", 0, "`N` rotations to simulate, at most 100000; 0 means as many as take some seconds")
	fs.Uint64Var(&f.seed, "seed", 1, "`NUMBER` that seeds the simulation; the same number gives the same answer")
	choice.AddOutput(fs, &f.output)
}

// duration returns the value of a flag, in seconds.
func (f *flags) duration(name string) float64 {
	d, _ := f.set.GetDuration(name)
	return d.Seconds()
}

// read completes the model from the flags.
func (f *flags) read() error {
	if err := f.check(); err != nil {
		return err
	}
	f.Sliding = f.Sliding && f.Protocol == replace
	f.KubeletSync, f.InFlight, f.ClockSkew = f.duration("kubelet-sync"), f.duration("in-flight"), f.duration("clock-skew")
	if f.detection == "cache" && f.KubeletSync > 0 {
		f.CacheTTL = f.duration("cache-ttl")
	}
	if f.watch == "poll" {
		f.PollInterval = f.duration("poll-interval")
	}
	if f.watch == "poll" || f.KubeletSync == 0 {
		f.Debounce = f.duration("debounce") // an event of a kubelet needs no debounce
	}
	switch f.RestartDelay = f.duration("restart-delay"); {
	case f.Sender != underExec:
		f.RestartDelay = 0
	case f.RestartDelay > 0 || f.set.Changed("restart-delay"):
	case f.KubeletSync > 0:
		f.RestartDelay = 120
	default:
		f.RestartDelay = 15
	}
	restart := f.SenderRestart
	f.restartAssumed = restart == "" && !f.set.Changed("sender-restart")
	if f.restartAssumed || f.Sender == transport {
		restart = map[string]string{restarted: "uniform:0s..10m", underExec: "uniform:0s..10s", transport: "fixed:0s"}[f.Sender]
	}
	var err error
	if f.delivery, err = parseDist("delivery", f.Delivery); err != nil {
		return err
	}
	f.restart, err = parseDist("sender-restart", restart)
	f.Delivery, f.SenderRestart = f.delivery.text, f.restart.text
	return err
}

// check refuses invalid values, and flags that need other flags. It ignores environment
// variables that need other flags, because they may be meant for another command.
func (f *flags) check() (err error) {
	kubelet, sliding := f.duration("kubelet-sync") != 0, f.Sliding && f.Protocol == replace
	for _, c := range []struct {
		name  string
		fits  bool
		needs string
	}{
		{"stage-wait", f.Protocol == staged, "--protocol staged"},
		{"sliding", f.Protocol == replace, "--protocol replace"},
		{"max-overlap", sliding, "--protocol replace and --sliding"},
		{"detection", kubelet, "a kubelet: a --kubelet-sync above 0s"},
		{"cache-ttl", f.detection == "cache" && kubelet, "--detection cache and a --kubelet-sync above 0s"},
		{"poll-interval", f.watch == "poll", "--watch poll"},
		{"restart-delay", f.Sender == underExec, "--sender exec"},
		{"sender-restart", f.Sender != transport, "--sender restart or exec, since a transport does not restart"},
	} {
		if f.set.Changed(c.name) && !c.fits {
			return exitcode.Usage("--%s needs %s; add that, or leave it out", c.name, c.needs)
		}
	}
	replicas, others := f.set.Changed("replicas"), f.set.Changed("receivers") || f.set.Changed("senders")
	if replicas && others {
		return exitcode.Usage("--replicas replaces --receivers and --senders; give it or them, not both")
	}
	f.set.VisitAll(func(flag *pflag.Flag) {
		if d, e := f.set.GetDuration(flag.Name); e == nil && (d < 0 || d > maxDuration) {
			err = exitcode.Usage("--%s must be from 0s to 720h", flag.Name)
		}
		least := 1
		if name := flag.Name; name == "newcomers" || name == "rotations" || name == "replicas" && !replicas {
			least = 0
		}
		if n, e := f.set.GetInt(flag.Name); e == nil && (n < least || n > maxCount) {
			err = exitcode.Usage("--%s must be from %d to %d", flag.Name, least, maxCount)
		}
	})
	if f.replicas > 0 && !others { // the command line overrides the environment
		f.Receivers, f.Senders = f.replicas, f.replicas
	}
	switch {
	case err != nil:
		return err
	case f.watch == "poll" && f.duration("poll-interval") == 0:
		return exitcode.Usage("--poll-interval must be above 0s; if the agents do not poll, give --watch events")
	case math.IsNaN(f.RequestRate) || f.RequestRate <= 0 || f.RequestRate > 1e6:
		return exitcode.Usage("--request-rate must be above 0 and at most 1000000 a second")
	case math.IsNaN(f.Risk) || f.Risk < 1e-12 || f.Risk >= 1:
		return exitcode.Usage("--risk must be a chance from 1e-12 to below 1, such as 1e-6")
	}
	return nil
}
