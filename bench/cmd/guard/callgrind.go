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

// counts is how often a run counts each operation. The least is taken: in the
// others the runtime did something of its own as well.
const counts = 5

// The maps of a process are seeded at random, and in some a lookup meets a second
// key: one process in ten takes several in a hundred more. So the median of a few
// processes is taken, and of some more before anything is called too much.
const (
	runs     = 3
	moreRuns = 4
)

// A tally is what the operations took, process by process.
type tally struct{ took [][]int }

// run adds what they take in n more processes.
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

// instructions runs this program under callgrind and returns how many instructions
// of user space each operation takes.
func instructions(ctx context.Context, dir string, ops []work.Operation) ([]int, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "callgrind")
	c := exec.CommandContext(ctx, "valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file="+out, //nolint:gosec // ourselves
		"--zero-before=main.begin", "--dump-before=main.end", self, "-child")
	// One thread of Go at a time, and nothing that comes by the clock. Valgrind does
	// not know RDTSCP on every processor that has it.
	c.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("valgrind: %w: %s; install it, or count -allocations alone", err, text)
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

// totals reads the total of a dump, as the callgrind format has it.
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
	return 0, fmt.Errorf("%s: callgrind has counted nothing", path)
}

// counted does every operation between the two functions for which callgrind
// waits: it sets its counter back before the one, and writes it down before the
// other.
func counted(ops []work.Operation) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a collection would be the operation's in whose turn it comes
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
