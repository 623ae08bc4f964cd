package agent

import (
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// maxUsers is the largest number of remembered hosts.
const maxUsers = 100

// previousUsers records which hosts still use superseded credentials. Looking up a known
// host takes no lock; adding a host does.
type previousUsers struct {
	mu   sync.Mutex
	byID atomic.Pointer[map[userID]*user]

	pruned atomic.Int64 // last time of mayPrune, as Unix time in nanoseconds
}

// A userID is a host and the fingerprint of the credential that it uses. When the next
// credential is superseded, the same host counts as a new user.
type userID struct{ host, fingerprint string }

type user struct {
	first time.Time
	use   rotation.Use
}

// mark records a use by id and reports whether it is the first. If there are too many
// users, mark keeps only those of the fingerprints that accepted returns.
func (u *previousUsers) mark(id userID, now time.Time, accepted func(now time.Time) map[string]bool) (first bool) {
	m := u.byID.Load()
	if m != nil {
		if known := (*m)[id]; known != nil {
			known.use.Mark(now)
			return false
		}
	}
	full := m != nil && len(*m) >= maxUsers
	if full && !u.mayPrune(now) {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	next := map[userID]*user{}
	if m := u.byID.Load(); m != nil {
		if known := (*m)[id]; known != nil {
			known.use.Mark(now)
			return false
		}
		maps.Copy(next, *m)
	}
	if len(next) >= maxUsers {
		keep := accepted(now)
		maps.DeleteFunc(next, func(id userID, _ *user) bool { return !keep[id.fingerprint] })
	}
	if first = len(next) < maxUsers; first {
		next[id] = &user{first: now}
		next[id].use.Mark(now)
	}
	u.byID.Store(&next)
	return first
}

// mayPrune returns true at most once a second, so that many new users do not make every
// request search for users to remove.
func (u *previousUsers) mayPrune(now time.Time) bool {
	last := u.pruned.Load()
	return now.UnixNano()-last >= int64(time.Second) && u.pruned.CompareAndSwap(last, now.UnixNano())
}

// hostOf returns the host of an address that a transport reports, at most 64 bytes. An
// address without a port, such as that of a Unix socket, is returned unchanged. For an
// empty or unnamed address hostOf returns "local".
func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	if host == "" || host == "@" {
		return "local"
	}
	return host[:min(len(host), 64)]
}
