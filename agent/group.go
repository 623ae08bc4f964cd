package agent

import (
	"fmt"
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Group is what several Agents of one process share: they take one inotify
// instance together, of which a user often has no more than 128, and the Group
// exports the metrics of them all, since a registry takes no two collectors with
// metrics of one name. Register it in place of its Agents. The sources of its
// Agents must differ in name.
//
// The zero Group is ready to use, and needs no Close. It is safe for concurrent
// use and must not be copied.
type Group struct {
	mu      sync.Mutex
	watcher *reload.Watcher
	members map[*Agent]bool // whether its metrics are exported yet
	changed broadcast
	// What has left counted refusals, in which no source is named, and a counter
	// must not run backwards.
	gone tally

	sdkWarning sync.Once // see warnOfSDKs
}

var _ prometheus.Collector = (*Group)(nil)

// enter reserves the names of a's sources, which its predecessor may have.
func (g *Group) enter(a, predecessor *Agent) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for other := range g.members {
		for _, p := range a.parts {
			if other != predecessor && other.part(p.source().name) != nil {
				return fmt.Errorf("another Agent of the Group has a source called %q too; give one of them another Name or KeyName", p.source().name)
			}
		}
	}
	if g.members == nil {
		g.members, g.gone = make(map[*Agent]bool), make(tally)
	}
	g.members[a] = false
	return nil
}

// begin exports the metrics of a from now on, and those of its predecessor no more.
// It returns what only the predecessor counted, which is kept.
func (g *Group) begin(a, predecessor *Agent) (moved tally) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[a] = true
	if predecessor == nil {
		return nil
	}
	delete(g.members, predecessor)
	moved = predecessor.tally(a)
	g.gone.add(moved)
	return moved
}

// back undoes begin.
func (g *Group) back(h *handover, p *Agent) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, h.a)
	g.members[p] = true
	g.gone.subtract(h.moved)
	g.gone.add(h.a.tally(p))
}

// leave takes a out, if it is in. What it refused stays counted.
func (g *Group) leave(a *Agent) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members[a] {
		g.gone.add(a.tally(nil))
	}
	delete(g.members, a)
}

// Watcher returns what the Agents of g share to watch files with, for what else
// the process watches. Nobody needs to close it.
func (g *Group) Watcher() *reload.Watcher {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watcher == nil {
		g.watcher = new(reload.Watcher)
	}
	return g.watcher
}

// Updated returns a channel that is closed at the next change of what any Agent of
// g accepts. To miss none, take the channel first and look afterwards.
func (g *Group) Updated() <-chan struct{} { return g.changed.next() }

// Describe implements [prometheus.Collector].
func (g *Group) Describe(ch chan<- *prometheus.Desc) { describe(ch) }

// Collect implements [prometheus.Collector]. It reads what the last changes
// published, and touches no file.
func (g *Group) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	var agents []*Agent
	sums := maps.Clone(g.gone)
	for a, exported := range g.members {
		if exported {
			agents = append(agents, a)
			sums.add(a.tally(nil))
		}
	}
	g.mu.Unlock()
	collect(ch, agents, sums)
}

// A tally is how many verifications there were of each kind, by method.
type tally map[string][kinds]uint64

func (t tally) add(more tally) {
	for method, n := range more {
		sum := t[method]
		for kind := range n {
			sum[kind] += n[kind]
		}
		t[method] = sum
	}
}

func (t tally) subtract(less tally) {
	for method, n := range less {
		sum := t[method]
		for kind := range n {
			sum[kind] -= n[kind]
		}
		t[method] = sum
	}
}

// tally returns what a has counted, but for what it counts together with other,
// which may be nil.
func (a *Agent) tally(other *Agent) tally {
	t := make(tally)
	for method, c := range a.counted() {
		if other == nil || other.counted()[method] != c {
			t[method] = c.sums()
		}
	}
	return t
}

// counted returns the counts of a, by the method that they count.
func (a *Agent) counted() map[string]*counts {
	by := make(map[string]*counts, 2)
	if a.tokens != nil {
		by[verify.MethodToken] = a.tokens.counts
	}
	if a.keys != nil {
		by[verify.MethodJWT] = a.keys.counts
	}
	return by
}

// part returns a's source called name, and nil if it has none.
func (a *Agent) part(name string) part {
	for _, p := range a.parts {
		if p.source().name == name {
			return p
		}
	}
	return nil
}
