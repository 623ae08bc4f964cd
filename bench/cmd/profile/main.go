// Command profile writes a CPU profile of one operation, for go tool pprof.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	name := flags.String("operation", "", "the `name` of the operation in guard.json")
	out := flags.String("out", "cpu.prof", "the `file` to write")
	lasting := flags.Duration("for", 5*time.Second, "how long to run the operation")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tokenagent-profile-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ops, err := work.NewOperations(ctx, dir)
	defer func() { err = errors.Join(err, ops.Close()) }()
	if err != nil {
		return err
	}
	var names []string
	for _, op := range ops.All {
		if op.Name == *name {
			return profile(op, *out, *lasting)
		}
		names = append(names, op.Name)
	}
	return fmt.Errorf("-operation: there is no operation %q; the operations are: %s", *name, strings.Join(names, "; "))
}

func profile(op work.Operation, path string, lasting time.Duration) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	for began := time.Now(); time.Since(began) < lasting; {
		for range op.N {
			op.Do()
		}
	}
	pprof.StopCPUProfile()
	return f.Close()
}
