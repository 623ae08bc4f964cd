// Command bench compares tokenagent with its peers, which are other projects' code for
// the same task, and with the floor, which is the least work that any implementation
// must do. It prints one table, and writes it to a page.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/sections"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "check only that everything runs and decides correctly; the figures mean nothing")
	only := flags.String("only", "", "run only these `sections`, separated by commas: "+strings.Join(names(), ", "))
	page := flags.String("page", "", "write the results between the markers of this Markdown `file`")
	raw := flags.String("raw", "", "write the measurements to this `file`, for benchstat")
	idle := flags.String("idle", "", "watch a file as this `peer` does, and print the cost; the section idle starts bench with it")
	lasting := flags.Duration("for", 0, "how long to watch, with -idle")
	dir := flags.String("dir", "", "the `directory` to watch, with -idle")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *idle != "" {
		return watch.Idle(ctx, *idle, *dir, *lasting, out)
	}
	tmp, err := os.MkdirTemp("", "tokenagent-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	r := &report.Run{Effort: measure.Full(), Dir: tmp}
	if *quick {
		r.Effort = measure.Quick()
	}
	if r.Self, err = os.Executable(); err != nil {
		return err
	}
	all, err := measureAll(ctx, r, *only, progress)
	if err != nil {
		return err
	}
	if err := report.Table(out, all); err != nil {
		return err
	}
	targets, unmet := report.Unmet(all)
	switch {
	case *quick:
		fmt.Fprintln(out, "\neverything runs; the figures of a quick run mean nothing")
	default:
		fmt.Fprintf(out, "\n%d of %d targets reached\n", targets-len(unmet), targets)
		for _, u := range unmet {
			fmt.Fprintln(out, "not reached:", u)
		}
	}
	if *raw != "" {
		if err := os.WriteFile(*raw, []byte(strings.Join(r.Raw, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	if *page == "" || *quick {
		return nil
	}
	if err := report.Replace(*page, "machine", report.Machine(time.Now(), peers.Modules())); err != nil {
		return err
	}
	return report.Replace(*page, "results", report.Markdown(all))
}

func names() []string {
	var names []string
	for _, s := range sections.All() {
		names = append(names, s.Name)
	}
	return names
}

func measureAll(ctx context.Context, r *report.Run, only string, progress io.Writer) ([]report.Results, error) {
	chosen := names()
	if only != "" {
		chosen = strings.Split(only, ",")
		for _, name := range chosen {
			if !slices.Contains(names(), name) {
				return nil, fmt.Errorf("-only: there is no section %q; the sections are %s", name, strings.Join(names(), ", "))
			}
		}
	}
	var all []report.Results
	for _, s := range sections.All() {
		if !slices.Contains(chosen, s.Name) {
			continue
		}
		began := time.Now()
		rows, err := s.Run(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		fmt.Fprintf(progress, "%s: %.1f s\n", s.Name, time.Since(began).Seconds())
		all = append(all, report.Results{Title: s.Title, Rows: rows})
	}
	return all, nil
}
