// Package sections has the sections of the report.
package sections

import (
	"context"
	"fmt"
	"os"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
)

// All returns every section in the order of the report.
func All() []report.Section {
	return []report.Section{
		{Name: "opaque", Title: "An opaque token of 200 bytes: headers in, decision out", Run: opaque},
		{Name: "http", Title: "HTTP middleware", Run: middleware},
		{Name: "grpc", Title: "gRPC interceptor", Run: interceptor},
		{Name: "jwt", Title: "Signed tokens", Run: signed},
		{Name: "cold", Title: "10,000 signed tokens, each seen for the first time", Run: cold},
		{Name: "parallel", Title: "Two cores against one: throughput", Run: parallel},
		{Name: "busy", Title: "Verifying while the token file is replaced 1,000 times per second", Run: busy},
		{Name: "reload", Title: "Time from the rename until the new content is served", Run: latency},
		{Name: "idle", Title: "Watching a file that does not change", Run: idle},
		{Name: "forward", Title: "Forward auth, 16 connections: answers per second", Run: forward},
		{Name: "extauthz", Title: "Envoy ext_authz over gRPC: answers per second", Run: extAuthz},
		{Name: "proxy", Title: "Reverse proxy, 16 connections: answers per second", Run: proxy},
		{Name: "realms", Title: "1,000 realms in one process", Run: realms},
		{Name: "flood", Title: "Good requests while 64 connections send forged tokens", Run: flood},
	}
}

// decision makes an Op of a check that must always return want. It calls check twice at
// once, so that it finds a wrong setup before anything is timed.
func decision(name string, want bool, check func() bool) (measure.Op, error) {
	for range 2 {
		if check() != want {
			return measure.Op{}, fmt.Errorf("%s: the check returned %v, want %v", name, !want, want)
		}
	}
	return measure.Op{Name: name, Run: func(n int) {
		for range n {
			if check() != want {
				panic(name + ": the check returned another result than before")
			}
		}
	}}, nil
}

// A comparison collects Ops and the first error of any.
type comparison struct {
	ops    []measure.Op
	err    error
	longer bool // use longer turns, because some candidates allocate a little
}

func (c *comparison) add(name string, want bool, check func() bool) {
	op, err := decision(name, want, check)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.ops = append(c.ops, op)
}

// run measures the added Ops, and keeps the measurements under the name group.
func (c *comparison) run(ctx context.Context, r *report.Run, group string) (map[string]measure.Series, error) {
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", group, c.err)
	}
	e := r.Effort
	if c.longer {
		e = e.Longer()
	}
	all, err := measure.ByTurns(ctx, e, c.ops...)
	if err != nil {
		return nil, err
	}
	r.Keep(group, all...)
	by := make(map[string]measure.Series, len(all))
	for _, s := range all {
		by[s.Name] = s
	}
	return by, nil
}

// verdict returns the name of a check's result.
func verdict(good bool) string {
	if good {
		return "accepted"
	}
	return "refused"
}

// beside returns a row that compares ours with peer. name is the peer's name.
func beside(what string, ours, peer measure.Series, name string) report.Row {
	return report.Row{What: what, Ours: ours.Median(), PeerName: name, Peer: peer.Median(), Ratio: ours.Ratio(peer)}
}

// inMemory makes a directory on a tmpfs, if there is one, as a kubelet does for a Secret.
// On a disk the rename itself would take longest. The caller calls remove.
func inMemory(r *report.Run) (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp("/dev/shm", "tokenagent-bench-"); err != nil {
		dir, err = folder(r)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// programs builds tokenagent and the bare server into a new directory for files of r.
func programs(ctx context.Context, r *report.Run) (dir string, p servers.Programs, err error) {
	if dir, err = folder(r); err != nil {
		return "", p, err
	}
	p, err = servers.Build(ctx, dir)
	return dir, p, err
}

// folder makes a directory for files of r.
func folder(r *report.Run) (string, error) { return os.MkdirTemp(r.Dir, "") }
