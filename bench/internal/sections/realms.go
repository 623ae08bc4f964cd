package sections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// realmsAtOnce is the number of realms of the process. Each has its own token file.
const realmsAtOnce = 1000

// realms measures how long a process with 1,000 realms takes to start, and the memory
// and processor time that it uses without changes and requests.
func realms(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, p, err := programs(ctx, r)
	if err != nil {
		return nil, err
	}
	path, err := writeRealms(dir)
	if err != nil {
		return nil, err
	}
	starts, lasting := 5, 60*time.Second
	if r.Quick {
		starts, lasting = 1, 100*time.Millisecond
	}
	var took []float64
	var memory, busy float64
	for n := range starts {
		more := lasting
		if n < starts-1 {
			more = 0 // only the last process is measured while idle
		}
		one, err := idleRealms(ctx, dir, p.Tokenagent, path, more)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(one.start))
		memory, busy = one.memory, one.busy
	}
	slices.Sort(took)
	start := took[len(took)/2]
	return []report.Row{
		report.Row{What: fmt.Sprintf("from exec to ready, median of %d", starts), Ours: measure.Exactly(start)}.
			AtMost(float64(500*time.Millisecond), start, "at most 0.5 s"),
		report.Row{What: "resident memory in MB, after a minute", Unit: report.Count, Ours: measure.Exactly(memory)}.
			AtMost(60, memory, "at most 60 MB"),
		report.Row{What: "processor time per second, idle", Ours: measure.Exactly(busy)}.
			AtMost(float64(10*time.Millisecond), busy, "at most 1% of a core"),
	}, nil
}

// writeRealms writes a configuration file with the realms, and their token files.
func writeRealms(dir string) (path string, err error) {
	var b bytes.Buffer
	b.WriteString("realms:\n")
	for n := range realmsAtOnce {
		token := filepath.Join(dir, "tokens", strconv.Itoa(n), "token")
		if err := os.MkdirAll(filepath.Dir(token), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(token, []byte(work.Token(n)), 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  r%d: {token-file: %s, hosts: [r%d.example]}\n", n, token, n)
	}
	path = filepath.Join(dir, "realms.yaml")
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}

// An idleCost is the cost of a process without requests.
type idleCost struct {
	start  time.Duration // from exec to ready
	memory float64       // MB
	busy   float64       // nanoseconds of processor time per second
}

func idleRealms(ctx context.Context, dir, program, config string, lasting time.Duration) (cost idleCost, err error) {
	at, err := servers.New(ctx, "unix", dir)
	if err != nil {
		return cost, err
	}
	admin, err := servers.New(ctx, "tcp", dir)
	if err != nil {
		return cost, err
	}
	c := exec.CommandContext(ctx, program, "run", "--config", config, "--listen", at.Flag(), "--admin-listen", admin.Address) //nolint:gosec // our own
	began := time.Now()
	if err := c.Start(); err != nil {
		return cost, err
	}
	defer func() { _ = c.Wait() }() // runs after the signal
	defer func() { _ = c.Process.Signal(os.Interrupt) }()
	for !ready(ctx, admin) {
		if err := ctx.Err(); err != nil {
			return cost, err
		}
		if time.Since(began) > 20*time.Second {
			return cost, errors.New("1,000 realms are not ready after 20 s")
		}
		time.Sleep(2 * time.Millisecond)
	}
	cost.start = time.Since(began)
	before, err := processorTime(c.Process.Pid)
	if err != nil {
		return cost, err
	}
	since := time.Now()
	select {
	case <-time.After(lasting):
	case <-ctx.Done():
		return cost, ctx.Err()
	}
	after, err := processorTime(c.Process.Pid)
	if err != nil {
		return cost, err
	}
	cost.busy = float64(after-before) / time.Since(since).Seconds()
	cost.memory, err = residentMB(c.Process.Pid)
	return cost, err
}

func ready(ctx context.Context, admin servers.Addr) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.Address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// processorTime returns the processor time that the threads of a process have used. It
// adds the first fields of /proc/PID/task/TID/schedstat, which are nanoseconds.
func processorTime(pid int) (sum time.Duration, err error) {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(all) == 0 {
		err = errors.New("there is no schedstat in /proc")
	}
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// residentMB returns VmRSS of proc_pid_status(5), in 10^6 bytes.
func residentMB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		return 0, fmt.Errorf("VmRSS: %w", err)
	}
	return kib * 1024 / 1e6, nil
}
