// Package demo shows rotations on one machine. It swaps a mounted Secret as the kubelet
// does, while senders and an intruder send requests to an HTTP and a gRPC server behind the
// agent. The same HTTP requests go to a server that reads its token once, as apps do today.
// From the changes the demo derives which tokens must be accepted at which time, and compares
// each answer with that.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Command returns the command `tokenagent demo`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Rotate a Secret under load and count who was wrongly refused or accepted",
		Long: `demo needs no setup. It makes a Secret mount in a temporary folder, and starts an
HTTP and a gRPC server with the agent on loopback. A third server reads its token once,
as apps do today, and is restarted after each change. demo sends the same requests
to them, rotates the Secret several times as the kubelet does, lets overlaps run out
and revokes a token. It ends by itself in about 12 seconds.

Exit code 0 means that the agent wrongly refused nobody and wrongly accepted nobody.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, file := cmd.OutOrStdout().(io.Reader)
			terminal := file && stdin.Terminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
			return run(cmd.Context(), cmd.OutOrStdout(), options{1400 * time.Millisecond, 1200 * time.Millisecond, allChanges(), terminal, nil})
		},
	}
}

type options struct {
	step    time.Duration // between two changes of the Secret
	overlap time.Duration // of the agent
	changes []change
	// terminal allows colours and a bar that moves.
	terminal bool
	// wrap replaces the verifier of the servers, so that a test can break it; nil keeps it.
	wrap func(verify.Verifier) verify.Verifier
}

func allChanges() []change {
	rotate, stageAndPromote, leak := (*operator).rotate, (*operator).stageAndPromote, (*operator).leak
	return []change{rotate, stageAndPromote, rotate, stageAndPromote, rotate, leak}
}

// run runs the demo until the changes are made or ctx ends, and writes to out. It fails with
// [exitcode.Refused] if a request had a wrong answer or none.
func run(ctx context.Context, out io.Writer, o options) error {
	dir, err := os.MkdirTemp("", "tokenagent-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	acc := &account{overlap: o.overlap, once: tally{}, http: tally{}, grpc: tally{}}
	op := &operator{
		account: acc, mount: filepath.Join(dir, "app-api-token"), step: o.step,
		screen: &screen{out: out, terminal: o.terminal, began: time.Now()},
	}
	if err := op.createMount(); err != nil {
		return err
	}
	a, err := agent.Start(ctx, agent.Config{TokenFile: op.mount, Overlap: o.overlap, MaxOverlap: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer a.Close()
	op.agent = a
	acc.accept(op.current, true)

	v := verify.Verifier(a)
	if o.wrap != nil {
		v = o.wrap(v)
	}
	s, err := serve(ctx, v)
	if err != nil {
		return err
	}
	defer s.close()
	op.once = &readOnce{mount: op.mount}
	if err := op.once.restart(); err != nil {
		return err
	}
	today, err := serve(ctx, op.once)
	if err != nil {
		return err
	}
	defer today.close()

	fmt.Fprint(out, `Two servers get the same requests. One reads its token once, when it starts, as
apps do today, and is restarted soon after each change. The other has the agent.

`)
	err = perform(ctx, op, o.changes, senders(acc, s, today))
	if ctx.Err() != nil {
		fmt.Fprintln(out, "\ninterrupted: the demo is incomplete, and so are these counts")
	}
	table, good := acc.table()
	fmt.Fprint(out, table)
	if err != nil && ctx.Err() == nil { // after an interrupt, the counts are shown, too
		return err
	}
	if err := printMetrics(out, a); err != nil {
		return err
	}
	if !good {
		fmt.Fprintln(out, "bad: the agent gave a wrong answer to some requests, or none")
		return exitcode.Refused
	}
	if ctx.Err() != nil {
		return exitcode.Interrupted
	}
	onceRefused, onceAccepted, _, _ := acc.wrong()
	fmt.Fprintln(out, "good: the agent wrongly refused nobody, and wrongly accepted nobody")
	fmt.Fprintf(out, "      without it, %d requests were wrongly refused, and %d wrongly accepted\n", onceRefused, onceAccepted)
	fmt.Fprintln(out, "next: tokenagent generate > token && chmod 600 token\n      tokenagent run --token-file token")
	return nil
}

// perform makes the changes while the senders send. Each sender sends once more after the
// last change.
func perform(ctx context.Context, op *operator, changes []change, all []*sender) error {
	working, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, s := range all {
		running.Go(func() {
			for pause(working, pace) == nil {
				s.send(ctx)
			}
			s.send(ctx)
		})
	}
	err := op.work(ctx, changes)
	stop()
	running.Wait()
	return err
}

// printMetrics prints some of the metrics that are not 0.
func printMetrics(out io.Writer, a *agent.Agent) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(a)
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nwhat Prometheus sees:")
	shown := []string{"tokenagent_rotations_total", "tokenagent_verifications_total", "tokenagent_token_info"}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if value == 0 || !slices.Contains(shown, f.GetName()) {
				continue
			}
			series := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" && l.GetName() != "source" { // there is only one source
					series = append(series, l.GetName()+"="+l.GetValue())
				}
			}
			fmt.Fprintf(out, "  %s: %.0f\n", strings.Join(series, " "), value)
		}
	}
	fmt.Fprintln(out)
	return nil
}
