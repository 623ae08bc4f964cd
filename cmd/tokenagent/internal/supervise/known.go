package supervise

import (
	"maps"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/rotation"
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
