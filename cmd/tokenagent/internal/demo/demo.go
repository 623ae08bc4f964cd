// Package demo shows a rotation from beginning to end on one machine: a mounted Secret
// that is swapped as the kubelet swaps it, a protected HTTP and a protected gRPC server,
// senders that change over at their own pace, and an intruder. It keeps its own account of
// who must be let in, and compares.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Command returns the command `tokenagent demo`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Rotate a Secret under load and count who was wrongly refused or let in",
		Long: `demo needs nothing. In a temporary folder it lays out a Secret mount, starts a
protected HTTP and a protected gRPC server on loopback and senders for both,
rotates the Secret several times as the kubelet does, lets overlaps run out and
revokes a token. It ends by itself in under 30 seconds.

Exit code 0 means that nobody was wrongly refused and nobody wrongly let in.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), cmd.OutOrStdout(), options{step: 1400 * time.Millisecond, overlap: 1200 * time.Millisecond})
		},
	}
}

type options struct {
	step    time.Duration // between two acts of the operator
	overlap time.Duration // of the agent

	// wrap changes what the servers ask; nil changes nothing. Tests break the agent with
	// it, to see that the account notices.
	wrap func(verify.Verifier) verify.Verifier
}

// run runs the demo until its script or ctx ends, and writes to out. The error is
// [exitcode.Refused] if a request was judged wrongly or not answered.
func run(ctx context.Context, out io.Writer, o options) error {
	dir, err := os.MkdirTemp("", "tokenagent-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	acc := &account{overlap: o.overlap, http: tally{}, grpc: tally{}}
	op := &operator{account: acc, mount: filepath.Join(dir, "app-api-token"), step: o.step}
	if err := op.layOut(); err != nil {
		return err
	}
	a, err := agent.Start(ctx, agent.Config{TokenFile: op.mount, Overlap: o.overlap, MaxOverlap: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer a.Close()
	op.agent = a
	acc.accept(op.current, time.Now(), true)

	v := verify.Verifier(a)
	if o.wrap != nil {
		v = o.wrap(v)
	}
	s, err := serve(ctx, v)
	if err != nil {
		return err
	}
	defer s.close()

	screen := newScreen(out, acc)
	op.tell = screen.event
	err = perform(ctx, op, screen, senders(acc, s))
	screen.redraw()
	if err != nil {
		return err
	}
	if err := printMetrics(out, a); err != nil {
		return err
	}
	if !acc.good() {
		fmt.Fprintln(out, "bad: requests were judged wrongly, or not at all")
		return exitcode.Refused
	}
	fmt.Fprintln(out, "good: nobody was wrongly refused, nobody wrongly let in")
	fmt.Fprintln(out, "next: tokenagent generate > token && chmod 600 token && tokenagent run --token-file token")
	if ctx.Err() != nil {
		return exitcode.Interrupted
	}
	return nil
}

// perform lets the senders send while the operator works.
func perform(ctx context.Context, op *operator, screen *screen, all []*sender) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for _, s := range all {
		running.Go(func() { every(ctx, pace, func() { s.send(ctx) }) })
	}
	if screen.live {
		running.Go(func() { every(ctx, 200*time.Millisecond, screen.redraw) })
	}
	err := op.work(ctx)
	if ctx.Err() != nil { // interrupted: what was counted so far still counts
		return nil
	}
	return err
}

// every does something again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// printMetrics prints what a scrape shows of the rotation now.
func printMetrics(out io.Writer, a *agent.Agent) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(a)
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nwhat Prometheus sees:")
	for _, f := range families {
		switch f.GetName() {
		case "tokenagent_rotations_total", "tokenagent_verifications_total", "tokenagent_token_info":
		default:
			continue
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if value == 0 {
				continue
			}
			var labels strings.Builder
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					fmt.Fprintf(&labels, " %s=%s", l.GetName(), l.GetValue())
				}
			}
			fmt.Fprintf(out, "  %s%s: %.0f\n", f.GetName(), labels.String(), value)
		}
	}
	fmt.Fprintln(out)
	return nil
}
