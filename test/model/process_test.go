package model

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A process is a receiver's: the real ledger and the real verifier, joined as an
// agent joins them. The zero process has loaded nothing.
type process struct {
	window rotation.Window
	ledger *rotation.Ledger[verify.Token]
	set    *verify.TokenSet
	memory *verify.Memory       // nil where nothing is written down
	names  map[rotation.ID]bool // IDs in the ledger that are names which memory gave
}

// see has the process read what its source says now.
func (p *process) see(t verify.Tokens, now time.Time) {
	p.meet(t)
	p.ledger = rotation.Advance(p.ledger, t.Decls, t.Revoked, now, p.window)
	p.set = p.memory.NewTokenSet(p.ledger, "token")
}

// meet knows tokens again that were written down by name.
func (p *process) meet(t verify.Tokens) {
	if len(p.names) == 0 {
		return
	}
	met := make(map[rotation.ID]rotation.ID)
	for id := range t.IDs() {
		if name := memory.Name(id); p.names[name] {
			met[name] = id
		}
	}
	p.ledger = p.ledger.Rename(met)
	p.names = maps.Clone(p.names)
	maps.DeleteFunc(p.names, func(name rotation.ID, _ bool) bool { _, ok := met[name]; return ok })
}

// A disk is what a state file holds.
type disk struct{ memo rotation.Memo[verify.Token] }

// write returns what the process would have written down at now.
func (p *process) write(now time.Time) disk {
	var d disk
	d.memo = p.ledger.Memo(now)
	for i := range d.memo.Entries {
		if r := &d.memo.Entries[i]; !p.names[r.ID] {
			r.ID = memory.Name(r.ID)
			r.Value = memory.Token(r.ID, r.Value.Fingerprint())
		}
	}
	for _, ids := range [][]rotation.ID{d.memo.Retired, d.memo.Ended} {
		for i, id := range ids {
			if !p.names[id] {
				ids[i] = memory.Name(id)
			}
		}
	}
	return d
}

// start returns the process that follows one which left d.
func start(window rotation.Window, d disk, now time.Time) process {
	p := process{window: window, memory: memory, names: make(map[rotation.ID]bool)}
	for _, r := range d.memo.Entries {
		p.names[r.ID] = true
	}
	for _, id := range slices.Concat(d.memo.Retired, d.memo.Ended) {
		p.names[id] = true
	}
	p.ledger = rotation.Restore(d.memo, now, window)
	return p
}

// An answer is the slot in which a token was accepted, or the class of the
// refusal where that is 0.
type answer struct {
	slot  rotation.Slot
	class verify.RefusalClass
}

func (a answer) ok() bool { return a.slot != 0 }

func (a answer) String() string {
	if a.ok() {
		return a.slot.String()
	}
	return a.class.String()
}

// present has the token k presented to the process here and now.
func (p *process) present(k token) answer {
	who, err := p.set.Verify(context.Background(), k.text())
	if err != nil {
		return answer{class: verify.Class(err)}
	}
	return answer{slot: who.Slot()}
}

// ask tells what would become of k if it were presented, without the use that
// would be: that moves a window which slides.
func (p *process) ask(k token, now time.Time) answer {
	id := k.id()
	name := id
	if len(p.names) > 0 {
		name = memory.Name(id)
	}
	if p.ledger.Revoked(id) || p.ledger.Revoked(name) {
		return answer{class: verify.Revoked}
	}
	for i := range p.ledger.Entries {
		e := &p.ledger.Entries[i]
		if (e.ID == id || p.names[e.ID] && e.ID == name) && e.Live(now) {
			return answer{slot: e.Slot}
		}
	}
	return answer{class: verify.Invalid}
}
