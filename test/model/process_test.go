package model

import (
	"context"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	tokens "github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A process is a receiver's: the real ledger and the real verifier, joined as an
// agent joins them. The zero process has loaded nothing.
type process struct {
	window rotation.Window
	ledger *rotation.Ledger[tokens.Token]
	set    *tokens.Set
}

// see has the process read what its source says now.
func (p *process) see(t tokens.Tokens, now time.Time) {
	p.ledger = rotation.Advance(p.ledger, t, now, p.window)
	p.set = tokens.NewSet(p.ledger, "token")
}

// A disk is what a state file holds.
type disk struct {
	snapshot rotation.Snapshot
}

// write returns what the process would have written down at now: no token, only
// digests.
func (p *process) write(now time.Time) disk {
	return disk{p.ledger.Snapshot(now, nil)}
}

// start returns the process that follows one which left d.
func start(window rotation.Window, d disk, now time.Time) process {
	return process{window: window, ledger: rotation.Restore(d.snapshot, now, window, tokens.Remembered)}
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
