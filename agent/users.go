package agent

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// maxUsers is the largest number of remembered hosts.
const maxUsers = 100

// previousUsers records which hosts still use superseded credentials. Recording a known
// host takes no lock; adding a host does.
type previousUsers struct {
	mu   sync.Mutex // held to store byID
	byID atomic.Pointer[map[userID]*user]
}

// A userID is a host, and the fingerprint and the client of the credential that it uses.
// When the next credential is superseded, the same host counts as a new user.
type userID struct{ host, fingerprint, client string }

type user struct {
	first time.Time
	use   rotation.Use
}

func newPreviousUsers() *previousUsers {
	u := new(previousUsers)
	u.byID.Store(&map[userID]*user{})
	return u
}

// mark records a use by id and reports whether it is the first. It ignores a new user if
// there are maxUsers already.
func (u *previousUsers) mark(id userID, now time.Time) (first bool) {
	known := *u.byID.Load()
	if user := known[id]; user != nil {
		user.use.Mark(now)
		return false
	}
	if len(known) >= maxUsers {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	next := maps.Clone(*u.byID.Load())
	if next[id] != nil || len(next) >= maxUsers { // another request has just added a user
		return false
	}
	next[id] = &user{first: now}
	next[id].use.Mark(now)
	u.byID.Store(&next)
	return true
}

// makeRoom forgets the users of credentials that are no longer accepted, if there are
// maxUsers users. superseded holds the fingerprints of those that still are.
func (u *previousUsers) makeRoom(superseded map[string]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if next := maps.Clone(*u.byID.Load()); len(next) >= maxUsers {
		maps.DeleteFunc(next, func(id userID, _ *user) bool { return !superseded[id.fingerprint] })
		u.byID.Store(&next)
	}
}

// list returns the recorded users, the latest first.
func (u *previousUsers) list() []PreviousUser {
	var out []PreviousUser
	for id, v := range *u.byID.Load() {
		out = append(out, PreviousUser{Client: id.client, Host: id.host, Fingerprint: id.fingerprint, First: utc(v.first), Last: utc(v.use.Last())})
	}
	slices.SortFunc(out, func(a, b PreviousUser) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out
}

// RecordPreviousUse records that the host of the address remote used the superseded
// credential of p. The Agent logs each credential and host once and lists at most 100
// in Status. Principals in other slots or from other sources are ignored. Packages
// httpauth and grpcauth call RecordPreviousUse, which implements
// [verify.PreviousUseRecorder].
func (a *Agent) RecordPreviousUse(p *verify.Principal, remote string) {
	if p.Slot() != rotation.Previous {
		return
	}
	for _, src := range a.sources {
		src.recordPreviousUse(p, remote)
	}
}

// recordPreviousUse records and logs that the host of remote used the superseded
// credential of p, if the source verified p.
func (src *source[V, S]) recordPreviousUse(p *verify.Principal, remote string) {
	id := userID{hostOf(remote), p.KeyID(), p.Client()}
	if !src.verified(p) || !src.users.mark(id, time.Now()) {
		return
	}
	log := src.log.With("remote", id.host, "fingerprint", id.fingerprint)
	if id.client != "" {
		log = log.With("client", id.client)
	}
	if p.Method() == verify.MethodToken {
		log.Info("superseded token still in use")
	} else {
		log.Info("superseded key still in use")
	}
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
