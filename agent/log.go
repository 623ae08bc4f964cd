package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// expiryWarning is how long before the exp of a token that is a JWT the Agent logs a
// warning.
const expiryWarning = 24 * time.Hour

// logChanges logs every change of the source and calls changed after each, until ctx
// ends.
func (m *typedSource[V, S]) logChanges(ctx context.Context, changed func()) {
	var last *state[V, S]
	for {
		updated := m.value.Updated()
		if s := m.value.Load(); s != nil && s != last {
			m.logChange(last, s)
			last = s
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-updated:
		}
	}
}

func (m *typedSource[V, S]) logChange(last, s *state[V, S]) {
	log := m.log.With("source", m.src.name)
	if !s.loaded {
		return
	}
	for _, note := range s.notes[:min(len(s.notes), maxNotes)] {
		if last == nil || !slices.Contains(last.notes, note) {
			log.Warn("source accepted with a warning", "note", note)
		}
	}
	m.warnAboutRevoked(log, last, s)
	now := time.Now()
	live := s.live(now)
	m.warnAboutReaders(live)
	var n [len(rotation.Slots)]int
	for _, e := range live {
		n[e.Slot-1]++
		if exp := m.expiry(e.Value); !exp.IsZero() && exp.Before(now.Add(expiryWarning)) {
			log.Warn("a token is a JWT whose exp has come or comes within a day; receivers that check exp refuse it then",
				"slot", e.Slot.String(), "fingerprint", e.Value.Fingerprint(), "expires", exp.UTC())
		}
	}
	args := []any{
		"generation", s.ledger.Number, "next", n[rotation.Next-1], "previous", n[rotation.Previous-1], "listed", n[rotation.Listed-1],
	}
	args = append(args, m.overlapArgs(live, now)...)
	if staged := stagedFingerprints(live); staged != "" {
		args = append(args, "next_fingerprint", staged)
	}
	c, ok := s.ledger.Current()
	if ok {
		args = append(args, "fingerprint", c.Value.Fingerprint())
	}
	switch {
	case !ok && m.src.needsCurrent:
		log.Warn("the current token is revoked; senders need another one", "generation", s.ledger.Number)
	case last == nil || !last.loaded:
		log.Info("source loaded", args...)
	case s.rotations != last.rotations:
		log.Info("rotated", args...)
	default:
		log.Info("source changed", args...)
	}
}

// overlapArgs returns log attributes of the overlap: its end if no credential is used
// again, the latest end that uses can extend it to, and which uses extend it.
func (m *typedSource[V, S]) overlapArgs(live []*rotation.Entry[V], now time.Time) []any {
	until := overlapUntil(live, now)
	if until.IsZero() {
		return nil
	}
	latest, slides, waits := until, false, false
	for _, e := range live {
		if limit := e.Cap(now); !limit.IsZero() {
			slides, waits = true, waits || e.Waiting()
			if limit.After(latest) {
				latest = limit
			}
		}
	}
	args := []any{"overlap_until", until.UTC(), "overlap_until_at_most", latest.UTC()}
	switch {
	case waits:
		args = append(args, "overlap_begins_with", "the first use of the new one")
		fallthrough
	case slides:
		args = append(args, "renewed_by", "each use of the old one, for "+m.src.window.Overlap.String())
	}
	return args
}

// stagedFingerprints returns the fingerprints of the credentials in slot next, at most
// maxNotes, separated by commas.
func stagedFingerprints[V credential](live []*rotation.Entry[V]) string {
	var staged []string
	for _, e := range live {
		if e.Slot == rotation.Next && len(staged) < maxNotes {
			staged = append(staged, e.Value.Fingerprint())
		}
	}
	return strings.Join(staged, ",")
}

// warnAboutRevoked logs each revoked credential that the source newly declares without
// its revocation, at most maxNotes of them.
func (m *typedSource[V, S]) warnAboutRevoked(log *slog.Logger, last, s *state[V, S]) {
	logged := 0
	var before []string
	if last != nil {
		before = last.revokedDeclared()
	}
	for _, fingerprint := range s.revokedDeclared() {
		if logged < maxNotes && !slices.Contains(before, fingerprint) {
			logged++
			log.Warn("the source declares, without the revocation, what is revoked; it stays refused until the revocation is lifted (tokenagent rotate unrevoke)",
				"fingerprint", fingerprint)
		}
	}
}

// expiry returns the exp of v, and the zero Time if v does not expire.
func (m *typedSource[V, S]) expiry(v V) time.Time {
	if m.expires == nil {
		return time.Time{}
	}
	return m.expires(v)
}
