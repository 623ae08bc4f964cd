package agent

import (
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxUsers bounds how many hosts are remembered.
const maxUsers = 100

// users knows from which hosts superseded tokens still come. Looking one up
// takes no lock; only a host that is new does.
type users struct {
	mu   sync.Mutex
	byID atomic.Pointer[map[userID]*user]
}

// A userID is a host that uses one token: when that token has gone and the
// next one is superseded, the same host is news again.
type userID struct{ host, fingerprint string }

type user struct {
	first time.Time
	use   rotation.Use
}

// RecordPreviousUse notes from where a superseded token came: logged once per
// token and remote host, at most 100 of them, and listed in Status. httpauth
// and grpcauth call it.
func (a *Agent) RecordPreviousUse(p *verify.Principal, remote string) {
	if p.Source() != a.cfg.Name || p.Slot() != rotation.Previous {
		return
	}
	id := userID{hostOf(remote), p.KeyID()}
	if a.users.mark(id, time.Now(), a.stillAccepted) {
		a.cfg.Logger.Info("superseded token still in use", "source", a.cfg.Name,
			"remote", id.host, "fingerprint", id.fingerprint)
	}
}

// stillAccepted reports whether a token is superseded and accepted, so that its
// users matter.
func (a *Agent) stillAccepted(fingerprint string) bool {
	for _, e := range a.value.Load().live(time.Now()) {
		if e.Slot == rotation.Previous && verify.Fingerprint(e.ID) == fingerprint {
			return true
		}
	}
	return false
}

// mark notes a use by id, and reports whether it is the first. matters tells
// which tokens' users to keep when there are too many.
func (u *users) mark(id userID, now time.Time, matters func(fingerprint string) bool) (first bool) {
	if m := u.byID.Load(); m != nil {
		if known := (*m)[id]; known != nil {
			known.use.Mark(now)
			return false
		}
		if len(*m) >= maxUsers && !u.prune(matters) {
			return false
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	next := map[userID]*user{}
	if m := u.byID.Load(); m != nil {
		if known := (*m)[id]; known != nil {
			known.use.Mark(now)
			return false
		}
		if len(*m) >= maxUsers {
			return false
		}
		maps.Copy(next, *m)
	}
	next[id] = &user{first: now}
	next[id].use.Mark(now)
	u.byID.Store(&next)
	return true
}

// prune forgets the users of tokens that matter no more, and reports whether
// that made room.
func (u *users) prune(matters func(fingerprint string) bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := map[userID]*user{}
	m := u.byID.Load()
	for k, v := range *m {
		if matters(k.fingerprint) {
			next[k] = v
		}
	}
	if len(next) == len(*m) {
		return false
	}
	u.byID.Store(&next)
	return len(next) < maxUsers
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
