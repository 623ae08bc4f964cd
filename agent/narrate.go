package agent

import (
	"context"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// soon is how long before its expiry a token that is a JWT is warned of.
const soon = 24 * time.Hour

// narrate tells operators of every change, until ctx ends.
func (a *Agent) narrate(ctx context.Context) {
	var last *state
	for {
		changed := a.value.Updated()
		if s := a.value.Load(); s != nil && s != last {
			a.tell(last, s)
			last = s
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (a *Agent) tell(last, s *state) {
	log := a.cfg.Logger.With("source", a.cfg.Name)
	if !s.loaded {
		return
	}
	now := time.Now()
	var n [len(rotation.Slots)]int
	for _, e := range s.live(now) {
		n[e.Slot-1]++
		if exp := e.Value.Expires(); !exp.IsZero() && exp.Before(now.Add(soon)) {
			log.Warn("a token is a JWT whose exp has come or comes within a day; receivers that check it refuse it then",
				"slot", e.Slot.String(), "fingerprint", e.Value.Fingerprint(), "expires", exp.UTC())
		}
	}
	c, ok := s.ledger.Current()
	if !ok {
		log.Warn("the current token is revoked; senders need another one", "generation", s.ledger.Number)
		return
	}
	args := []any{
		"generation", s.ledger.Number, "fingerprint", c.Value.Fingerprint(),
		"next", n[rotation.Next-1], "previous", n[rotation.Previous-1], "listed", n[rotation.Listed-1],
	}
	if until := overlapUntil(s.live(now), now); !until.IsZero() {
		args = append(args, "overlap_until", until.UTC())
	}
	switch {
	case last == nil || !last.loaded:
		log.Info("tokens loaded", args...)
	case s.rotations != last.rotations:
		log.Info("token rotated", args...)
	default:
		log.Info("tokens changed", args...)
	}
}

// overlapUntil returns the latest deadline among entries, and the zero Time
// where none has one.
func overlapUntil(entries []*rotation.Entry[verify.Token], now time.Time) time.Time {
	var until time.Time
	for _, e := range entries {
		if d := e.Deadline(now); d.After(until) {
			until = d
		}
	}
	return until
}
