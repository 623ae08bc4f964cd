package agent

import (
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// maxUsers bounds how many hosts are remembered.
const maxUsers = 100

// users knows from which hosts superseded tokens still come. Looking one up
// takes no lock; only a host that is new does.
type previousUsers struct {
	mu   sync.Mutex
	byID atomic.Pointer[map[userID]*user]

	pruned atomic.Int64 // when it was last tried, Unix time in nanoseconds
}

// A userID is a host that uses one token: when that token has gone and the
// next one is superseded, the same host is news again.
type userID struct{ host, fingerprint string }

type user struct {
	first time.Time
	use   rotation.Use
}

// mark notes a use by id, and reports whether it is the first. accepted names the
// tokens whose users to keep when there are too many.
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

// mayPrune lets one caller a second look for users to forget, so that a crowd
// of new ones costs the requests that bring them nothing.
func (u *previousUsers) mayPrune(now time.Time) bool {
	last := u.pruned.Load()
	return now.UnixNano()-last >= int64(time.Second) && u.pruned.CompareAndSwap(last, now.UnixNano())
}

// hostOf returns the host of an address as a transport gives it. What has no
// port, as a Unix socket's peer, is taken as it is; no name at all is "local".
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
