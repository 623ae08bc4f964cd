package agent

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/internal/counter"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// maxClients is the largest number of clients with metrics of their own. Those of the
// others are added up under the client otherClients.
const (
	maxClients   = 100
	otherClients = "other"
)

// clientUses counts the uses of the tokens of named clients, for each client and slot. It
// is safe for concurrent use.
type clientUses struct {
	mu   sync.Mutex
	uses map[clientSlot]*clientUse
	// own holds the clients that have metrics of their own.
	own map[string]bool
	// gone counts the uses of all clients that are gone; goneOthers counts those of them that
	// had no metrics of their own. They keep the totals from decreasing.
	gone, goneOthers slotCounts
}

type clientSlot struct {
	client string
	slot   rotation.Slot
}

type slotCounts [len(rotation.Slots)]uint64

type clientUse struct {
	counter counter.Counter
	sampled uint64    // the count at the last sample
	last    time.Time // the first sample after the last use; zero if there was none
}

// counterOf returns the counter of a client and slot, and nil for the unnamed client.
func (c *clientUses) counterOf(client string, slot rotation.Slot) *counter.Counter {
	if client == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &c.use(clientSlot{client, slot}).counter
}

// use returns the clientUse for k and creates it if there is none. mu must be held.
func (c *clientUses) use(k clientSlot) *clientUse {
	u := c.uses[k]
	if u == nil {
		u = &clientUse{counter: counter.Counter{MaxCells: 16}}
		if c.uses == nil {
			c.uses, c.own = make(map[clientSlot]*clientUse), make(map[string]bool)
		}
		// A client that has counted as one of the others goes on doing so.
		isNew := !slices.ContainsFunc(rotation.Slots[:], func(slot rotation.Slot) bool { return c.uses[clientSlot{k.client, slot}] != nil })
		if isNew && len(c.own) < maxClients && k.client != otherClients {
			c.own[k.client] = true
		}
		c.uses[k] = u
	}
	return u
}

// keep forgets the clients for which has returns false.
func (c *clientUses) keep(has func(client string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, u := range c.uses {
		if has(k.client) {
			continue
		}
		n := u.counter.Load()
		c.gone[k.slot-1] += n
		if !c.own[k.client] {
			c.goneOthers[k.slot-1] += n
		}
		delete(c.uses, k)
	}
	maps.DeleteFunc(c.own, func(client string, _ bool) bool { return !has(client) })
}

// sample records now as the last use of each client and slot that has been used since the
// last sample. The time is not taken when a token is verified, because reading the clock
// would cost as much as the verification.
func (c *clientUses) sample(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.uses {
		if n := u.counter.Load(); n != u.sampled {
			u.sampled, u.last = n, now
		}
	}
}

// of returns how often the tokens of a client in a slot were accepted, and when last.
func (c *clientUses) of(client string, slot rotation.Slot) (count uint64, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.uses[clientSlot{client, slot}]; u != nil {
		return u.sampled, u.last
	}
	return 0, time.Time{}
}

// A clientTotal is what the metrics show of one client and slot.
type clientTotal struct {
	clientSlot
	count uint64
	last  time.Time
}

// totals returns the totals of each client with metrics of its own and of all others, and
// the number of uses of all clients in each slot.
func (c *clientUses) totals() (all []clientTotal, bySlot slotCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var others [len(rotation.Slots)]*clientTotal
	other := func(slot rotation.Slot) *clientTotal {
		if others[slot-1] == nil {
			others[slot-1] = &clientTotal{clientSlot: clientSlot{otherClients, slot}, count: c.goneOthers[slot-1]}
		}
		return others[slot-1]
	}
	bySlot = c.gone
	for k, u := range c.uses {
		bySlot[k.slot-1] += u.sampled
		if c.own[k.client] {
			all = append(all, clientTotal{k, u.sampled, u.last})
			continue
		}
		o := other(k.slot)
		o.count += u.sampled
		if u.last.After(o.last) {
			o.last = u.last
		}
	}
	for i, n := range c.goneOthers {
		if n > 0 {
			other(rotation.Slots[i])
		}
	}
	for _, o := range others {
		if o != nil {
			all = append(all, *o)
		}
	}
	slices.SortFunc(all, func(a, b clientTotal) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.slot, b.slot))
	})
	return all, bySlot
}

// A storedUse is the last use of a client in a slot, as the state file has it.
type storedUse struct {
	Client   string        `json:"client"`
	Slot     rotation.Slot `json:"slot"`
	LastUsed time.Time     `json:"last_used"` // to the hour, so that uses do not rewrite the file all the time
}

// stored returns the last uses for the state file.
func (c *clientUses) stored() (all []storedUse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, u := range c.uses {
		if !u.last.IsZero() {
			all = append(all, storedUse{k.client, k.slot, u.last.UTC().Truncate(time.Hour)})
		}
	}
	slices.SortFunc(all, func(a, b storedUse) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Slot, b.Slot))
	})
	return all
}

// restore sets the last uses that an earlier process stored. Counts begin at 0.
func (c *clientUses) restore(all []storedUse, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range all {
		if s.Client == "" || s.Slot == 0 {
			continue
		}
		last := s.LastUsed
		if last.After(now) { // the clock was wrong: no use is later than now
			last = now
		}
		c.use(clientSlot{s.Client, s.Slot}).last = last
	}
}
