package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// counts is how often a run counts each operation. The guard uses the lowest count,
// because in the others the Go runtime also did work of its own.
const counts = 5

// The guard uses the median of several processes, and of more before it fails. The
// maps of a process have a random seed, and in one process of ten a lookup meets a
// second key, which takes several per cent more instructions.
const (
	runs     = 3
	moreRuns = 4
)

// A tally holds the instructions of each operation, by process.
type tally struct{ took [][]int }

// run adds the instructions in n more processes.
func (t *tally) run(ctx context.Context, dir string, ops []work.Operation, n int) error {
	for range n {
		own, err := os.MkdirTemp(dir, "run-")
		if err != nil {
			return err
		}
		took, err := instructions(ctx, own, ops)
		if err != nil {
			return err
		}
		t.took = append(t.took, took)
	}
	return nil
}

// put writes the median of each operation into now.
func (t *tally) put(now *Numbers) {
	for i := range now.Operations {
		var all []int
		for _, took := range t.took {
			all = append(all, took[i])
		}
		slices.Sort(all)
		now.Operations[i].Instructions = all[len(all)/2]
	}
}

// instructions runs this program under callgrind. It returns the number of user-space
// instructions of each operation.
func instructions(ctx context.Context, dir string, ops []work.Operation) ([]int, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "callgrind")
	c := exec.CommandContext(ctx, "valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file="+out, //nolint:gosec // ourselves
		"--zero-before=main.begin", "--dump-before=main.end", self, "-child")
	// These settings run one Go thread at a time and switch off preemption by a timer.
	// Valgrind does not support RDTSCP on every processor that has it.
	c.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("valgrind: %w: %s; install it, or use -allocations", err, text)
	}
	took := make([]int, len(ops))
	for i, op := range ops {
		var all []int
		for k := range counts {
			total, err := totals(fmt.Sprintf("%s.%d", out, counts*i+k+1))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op.Name, err)
			}
			all = append(all, total/op.N)
		}
		took[i] = slices.Min(all)
	}
	return took, nil
}

// totals returns the "totals" line of a callgrind dump.
func totals(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "totals: "); ok {
			return strconv.Atoi(text)
		}
	}
	return 0, fmt.Errorf("%s: the callgrind dump has no totals", path)
}

// counted runs every operation between calls of begin and end. Callgrind resets its
// counter before begin, and writes it to a dump before end.
func counted(ops []work.Operation) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a collection would count for the operation that happens to run
	for _, op := range ops {
		for range 20 {
			op.Do()
		}
		for range counts {
			begin()
			for range op.N {
				op.Do()
			}
			end()
		}
	}
}

//go:noinline
func begin() {}

//go:noinline
func end() {}
