package agent_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// TestSharedWatcherTakesOneInotifyInstance: each of a hundred Agents sees its own swap by
// an event. The test is not parallel, since it counts the inotify instances of the
// process.
func TestSharedWatcherTakesOneInotifyInstance(t *testing.T) { //nolint:paralleltest // counts inotify instances of the process
	before := testlog.Inotify(t)
	w := new(reload.Watcher)
	agents, paths := make([]*agent.Agent, 100), make([]string, 100)
	for i := range agents {
		paths[i] = file(t, tokenN(i))
		agents[i] = start(t, agent.Config{TokenFile: paths[i], Poll: time.Hour, Debounce: time.Hour, Watcher: w})
	}
	for i, a := range agents {
		eventually(t, a, "it watches", func() bool { return a.Status().Sources[0].WatchMode == "events" })
		replace(t, paths[i], tokenN(1000+i))
		eventually(t, a, "the swap", func() bool { return accepts(a, tokenN(1000+i)) })
	}
	if got := testlog.Inotify(t) - before; got != 1 {
		t.Errorf("%d inotify instances", got)
	}
	// Closing one Agent does not affect the others.
	_ = agents[0].Close()
	replace(t, paths[1], tokenN(2001))
	eventually(t, agents[1], "the swap, after another was closed", func() bool { return accepts(agents[1], tokenN(2001)) })
	for _, a := range agents {
		_ = a.Close()
	}
	if got := testlog.Inotify(t) - before; got != 0 {
		t.Errorf("%d inotify instances left", got)
	}
}

// TestAgentsInOneRegistry: a label of the caller distinguishes the Agents.
func TestAgentsInOneRegistry(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	for i, name := range []string{"a", "b"} {
		a := start(t, agent.Config{TokenFile: file(t, tokenN(i)), Poll: -1})
		prometheus.WrapRegistererWith(prometheus.Labels{"realm": name}, r).MustRegister(a)
	}
	if n, err := testutil.GatherAndCount(r, "tokenagent_generation"); err != nil || n != 2 {
		t.Errorf("%d sources, %v", n, err)
	}
}
