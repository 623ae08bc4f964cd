// Package demo shows a rotation from beginning to end on one machine: a mounted
// Secret that is swapped as the kubelet swaps it, a protected HTTP and a
// protected gRPC server, senders that change over at their own pace, and an
// intruder. It keeps account of its own of who had to be let in, and compares.
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
			return Run(cmd.Context(), cmd.OutOrStdout(), Options{})
		},
	}
}

// Options tune a Run. The zero value is good.
type Options struct {
	Step    time.Duration // between one act of the operator and the next; 0 means 1.4 s
	Overlap time.Duration // of the agent; 0 means 1.2 s

	// wrap puts something between the servers and the agent; nil does not. Tests
	// break the agent with it, to see the account notice.
	wrap func(verify.Verifier) verify.Verifier
}

// Run runs the demo until its script or ctx ends, and writes to out. The error
// is [exitcode.Refused] if a request was judged wrongly or got no answer.
func Run(ctx context.Context, out io.Writer, o Options) error {
	if o.Step == 0 {
		o.Step = 1400 * time.Millisecond
	}
	if o.Overlap == 0 {
		o.Overlap = 1200 * time.Millisecond
	}
	dir, err := os.MkdirTemp("", "tokenagent-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	w := newWorld(o.Overlap)
	op := &operator{world: w, mount: filepath.Join(dir, "app-api-token"), step: o.Step}
	if err := op.layOut(); err != nil {
		return err
	}
	a, err := agent.Start(ctx, agent.Config{TokenFile: op.mount, Overlap: o.Overlap, MaxOverlap: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer a.Close()
	op.agent = a
	w.accept(0, time.Now())

	v := verify.Verifier(a)
	if o.wrap != nil {
		v = o.wrap(v)
	}
	s, err := serve(ctx, v)
	if err != nil {
		return err
	}
	defer s.close()

	screen := newScreen(out, w)
	op.tell = screen.event
	err = perform(ctx, op, screen, senders(w, s))
	screen.finish()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(a)
	if err := printMetrics(out, registry); err != nil {
		return err
	}
	if err := verdict(out, w.total()); err != nil {
		return err
	}
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
		running.Go(func() { s.run(ctx) })
	}
	running.Go(func() { screen.run(ctx) })
	err := op.work(ctx)
	if ctx.Err() != nil { // interrupted: what was counted until now still counts
		return nil
	}
	return err
}

func verdict(out io.Writer, t tally) error {
	if t.wronglyRefused+t.wronglyLetIn+t.unanswered > 0 {
		fmt.Fprintln(out, "bad: requests were judged wrongly, or not at all")
		return exitcode.Refused
	}
	fmt.Fprintln(out, "good: nobody was wrongly refused, nobody wrongly let in")
	fmt.Fprintln(out, "next: tokenagent generate > token && chmod 600 token && tokenagent run --token-file token")
	return nil
}

// printMetrics prints what a scraper would now get of the agent, as far as it
// tells of the rotation.
func printMetrics(out io.Writer, g prometheus.Gatherer) error {
	families, err := g.Gather()
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
