package supervise

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// published are the tokens, by fingerprint, that receivers accept although they
// are not current yet, and since when they were seen so.
type published map[string]time.Time

// update makes p what status says at now. It returns that together with what p
// was before: a token that has just become current is in no other slot.
func (p *published) update(status agent.Status, now time.Time) published {
	fresh := published{}
	for _, src := range status.Sources {
		for _, t := range src.Tokens {
			if t.Slot != rotation.Next.String() && t.Slot != rotation.Listed.String() {
				continue
			}
			since, ok := (*p)[t.Fingerprint]
			if !ok {
				since = now
			}
			fresh[t.Fingerprint] = since
		}
	}
	both := maps.Clone(fresh)
	maps.Copy(both, *p)
	*p = fresh
	return both
}

// hurry makes the next token due at once where the source revokes the one that
// the program has.
//
// A receiver that has read the revocation refuses the program until then, and by
// the same content knows the new token. One that has not still accepts the old
// one, and the new one too if it saw that staged. If it did not, it refuses the
// program for a while; but this process reads its source as receivers do theirs,
// so that they are about as likely ahead of it as behind, and at the end of the
// delay all of them would have refused it.
func (s *Supervisor) hurry(status agent.Status, now time.Time) {
	if s.next == nil || s.phase == waiting || !now.Before(s.next.due) {
		return
	}
	// What is verified is counted, so nothing is where nothing is revoked.
	if !slices.ContainsFunc(status.Sources, func(src agent.SourceStatus) bool { return src.Revoked > 0 }) {
		return
	}
	if _, err := s.src.Verify(context.Background(), s.token); errors.Is(err, verify.ErrRevokedToken) {
		s.log.Warn("the token that the program has is revoked; it gets the new one at once", "fingerprint", fingerprint(s.token))
		s.next.due = now
	}
}
