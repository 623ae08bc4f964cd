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
	For      time.Duration // how long that was
	CPU      time.Duration // of all its threads, in user and system
	Switches int64         // how often one of its threads went to sleep
}

// Idle watches the content of dir, which it makes, as the Kind of that name does,
// and writes a Cost to out after lasting. It is the child's side of Child.
func Idle(ctx context.Context, name, dir string, lasting time.Duration, out io.Writer) error {
	k, err := Named(name)
	if err != nil {
		return err
	}
	t, err := NewTrial(ctx, k, Kubelet(), dir)
	if err != nil {
		return err
	}
	pause(ctx, min(5*time.Second, 10*lasting)) // what the start costs is another matter
	began, before := time.Now(), usage()
	pause(ctx, lasting)
	after := usage()
	err = json.NewEncoder(out).Encode(Cost{time.Since(began), after.CPU - before.CPU, after.Switches - before.Switches})
	_ = t.Close()
	return err
}

// usage is that of getrusage(2), which counts all threads.
func usage() Cost {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // ourselves are always there
	}
	return Cost{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Switches: u.Nvcsw}
}

// Child runs self, which is cmd/bench, as a process of its own that watches as the
// Kind of that name does, and returns what that cost. It starts after late.
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
