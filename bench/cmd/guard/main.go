// Command guard fails if an operation of tokenagent takes more instructions or
// allocations than guard.json allows. It measures no time, so its result does not
// depend on the machine or its load.
//
// The Go runtime counts the allocations. Valgrind's callgrind counts the instructions:
// guard starts itself under it.
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
	path := flags.String("file", "guard.json", "the `file` with the expected numbers")
	write := flags.Bool("write", false, "write the current numbers to -file")
	allocations := flags.Bool("allocations", false, "count only allocations, without valgrind")
	child := flags.Bool("child", false, "run every operation; guard starts itself with it under valgrind")
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
		return errors.New("-write: does not work with -allocations, because the file must have instructions")
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
		fmt.Fprintf(out, "above the expected numbers in %d processes; counting in %d more\n", runs, moreRuns)
		if err := count(moreRuns); err != nil {
			return err
		}
	}
	return compare(out, was, now)
}
