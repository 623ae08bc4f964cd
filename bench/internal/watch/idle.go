package watch

import (
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// A Cost is what a process used while nothing changed.
type Cost struct {
	For      time.Duration // how long the process was measured
	CPU      time.Duration // user and system time of all threads
	Switches int64         // voluntary context switches of all threads
}

// Idle makes dir and watches it as the Kind of that name does. After lasting it writes
// the Cost to out. [Child] runs it in a process.
func Idle(ctx context.Context, name, dir string, lasting time.Duration, out io.Writer) error {
	k, err := Named(name)
	if err != nil {
		return err
	}
	t, err := NewTrial(ctx, k, Kubelet(), dir)
	if err != nil {
		return err
	}
	pause(ctx, min(5*time.Second, 10*lasting)) // the cost of the start does not count
	began, before := time.Now(), usage()
	pause(ctx, lasting)
	after := usage()
	err = json.NewEncoder(out).Encode(Cost{time.Since(began), after.CPU - before.CPU, after.Switches - before.Switches})
	_ = t.Close()
	return err
}

// usage returns the result of getrusage(2), which counts all threads.
func usage() Cost {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // getrusage of the own process does not fail
	}
	return Cost{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Switches: u.Nvcsw}
}

// Child waits for late, and runs self, which is cmd/bench, as a child that watches as
// the Kind of that name does. It returns the child's Cost.
func Child(ctx context.Context, self, name, dir string, late, lasting time.Duration) (Cost, error) {
	pause(ctx, late)
	c := exec.CommandContext(ctx, self, "-idle", name, "-dir", dir, "-for", lasting.String()) //nolint:gosec // ourselves
	text, err := c.Output()
	if err != nil {
		return Cost{}, err
	}
	var cost Cost
	return cost, json.Unmarshal(text, &cost)
}
