package model

import (
	"context"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	tokens "github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A process is the process of a receiver: the real ledger and the real verifier,
// joined as an agent joins them. The zero process has loaded nothing.
type process struct {
	window rotation.Window
	ledger *rotation.Ledger[tokens.Token]
	set    *tokens.Set
}

// see makes the process read the content t of its source.
func (p *process) see(t tokens.Tokens, now time.Time) {
	p.ledger = rotation.Advance(p.ledger, t, now, p.window)
	p.set = tokens.NewSet(p.ledger, tokens.SetOptions{Source: "token"})
}

// A disk is the content of a state file.
type disk struct {
	snapshot rotation.Snapshot
}

// write returns the state file that the process would write at now.
func (p *process) write(now time.Time) disk {
	return disk{p.ledger.Snapshot(now, nil)}
}

// start returns a process that starts with the state file d.
func start(window rotation.Window, d disk, now time.Time) process {
	return process{window: window, ledger: rotation.Restore(d.snapshot, now, window, tokens.Remembered)}
}

// An answer is the slot of an accepted token. If the slot is 0, the token was
// refused with class.
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

// present verifies the token k now. In a sliding window this counts as a use.
func (p *process) present(k token) answer {
	who, err := p.set.Verify(context.Background(), k.text())
	if err != nil {
		return answer{class: verify.Class(err)}
	}
	return answer{slot: who.Slot()}
}

// peek returns the answer that present would give, without using the token. A use
// would move a sliding window.
func (p *process) peek(k token, now time.Time) answer {
	id := k.id()
	if p.ledger.Revoked(id) {
		return answer{class: verify.Revoked}
	}
	for i := range p.ledger.Entries {
		if e := &p.ledger.Entries[i]; e.ID == id && e.Live(now) {
			return answer{slot: e.Slot}
		}
	}
	return answer{class: verify.Invalid}
}
