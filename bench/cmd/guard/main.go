// Command guard fails where an operation of tokenagent takes more instructions or
// allocations than it is written down to take. It measures no time, so it says the
// same on every machine, however busy.
//
// Allocations are counted by the Go runtime, instructions by valgrind's callgrind,
// under which it starts itself. See guard.json for the numbers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
	path := flags.String("file", "guard.json", "where the numbers are written down")
	write := flags.Bool("write", false, "write down what it takes now")
	allocations := flags.Bool("allocations", false, "count allocations alone, where there is no valgrind")
	child := flags.Bool("child", false, "do every operation, for the valgrind around it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tokenagent-guard-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ops, err := work.NewOperations(ctx, dir)
	defer func() { _ = ops.Close() }()
	if err != nil {
		return err
	}
	if *child {
		counted(ops.All)
		return nil
	}
	now := Numbers{Go: runtime.Version()}
	for _, op := range ops.All {
		op.Do()
		now.Operations = append(now.Operations, Number{What: op.Name, Allocations: testing.AllocsPerRun(100, op.Do)})
	}
	if *write && *allocations {
		return errors.New("-write: without instructions there would be none in the file")
	}
	var took tally
	count := func(processes int) error {
		if err := took.run(ctx, dir, ops.All, processes); err != nil {
			return err
		}
		took.put(&now)
		return nil
	}
	if *write {
		if err := count(runs + moreRuns); err != nil {
			return err
		}
		return now.save(*path)
	}
	if !*allocations {
		if err := count(runs); err != nil {
			return err
		}
	}
	was, err := load(*path)
	if err != nil {
		return err
	}
	if !*allocations && compare(io.Discard, was, now) != nil {
		fmt.Fprintf(out, "more than is written down in %d processes: counting %d more\n", runs, moreRuns)
		if err := count(moreRuns); err != nil {
			return err
		}
	}
	return compare(out, was, now)
}
