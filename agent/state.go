package agent

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A credential is what a source declares: a shared token or a verification key.
type credential interface {
	// Fingerprint identifies the credential without revealing it.
	Fingerprint() string
	// Label is the KeyID of the Principals that the credential verifies.
	Label() string
}

// A state is what requests and scrapes read of one source. It is immutable; a change
// publishes a new state. V and S are those of source.
type state[V credential, S any] struct {
	ledger *rotation.Ledger[V]
	// set is nil until the source is loaded, and after Close.
	set     *S
	loaded  bool
	hasRead bool // this Agent has read the source, and not only one that it continues
	closed  bool // the Agent is closed; the rest is as it was before

	content  rotation.Content[V] // the last valid content
	notes    []string            // warnings about it
	rejected []rotation.ID       // revocations in the source's content, if that content was rejected
	lifted   []rotation.ID       // unrevoked by Agent.Unrevoke; an older state file must not revoke them again

	current   map[string]rotation.ID // the last current credential of each client
	rotations uint64
	// lastPrevious is the last use of the superseded credentials that have been removed
	// from the ledger.
	lastPrevious time.Time

	// sender is the client whose current token a sender sends. severalSenders reports that
	// there is none, because the source declares several clients, all of them named.
	sender         string
	severalSenders bool
}

// senderOf returns the unnamed client if decls have it, and else their only client.
func senderOf[V any](decls []rotation.Decl[V]) (client string, several bool) {
	for i, d := range decls {
		switch {
		case d.Client == "":
			return "", false
		case i == 0:
			client = d.Client
		case d.Client != client:
			several = true
		}
	}
	return client, several
}

// with returns the state that follows s with the ledger l. declared is what the source
// declares if l came from new content, and else nil.
func (src *source[V, S]) with(s *state[V, S], l *rotation.Ledger[V], declared []rotation.Decl[V]) *state[V, S] {
	next := *s
	next.ledger, next.lastPrevious = l, s.previousLastUsed()
	if next.loaded && !next.closed {
		next.set = src.build(l, s.set, declared)
	}
	next.current = make(map[string]rotation.ID, len(s.content.Decls)+1)
	next.current[""] = s.current[""]
	next.sender, next.severalSenders = senderOf(s.content.Decls)
	for _, d := range s.content.Decls { // also the clients whose current credential is revoked
		next.current[d.Client] = s.current[d.Client]
	}
	for _, c := range l.Currents() {
		if last := s.current[c.Client]; last != c.ID && last != (rotation.ID{}) {
			next.rotations++
		}
		next.current[c.Client] = c.ID
	}
	return &next
}

// revoked reports whether an open Agent refuses the credential id as revoked.
func (s *state[V, S]) revoked(id rotation.ID) bool {
	return id != rotation.ID{} && !s.closed && s.ledger.Revoked(id)
}

// live returns the entries of s that are accepted at now.
func (src *source[V, S]) live(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if s.set == nil {
		return nil
	}
	var live []*rotation.Entry[V]
	for i := range s.ledger.Entries {
		if e := &s.ledger.Entries[i]; e.Live(now) && src.spec.allows(e.Client) {
			live = append(live, e)
		}
	}
	return live
}

// accepted returns the entries of s that verify requests at now.
func (src *source[V, S]) accepted(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if !src.usable() {
		return nil
	}
	return src.live(s, now)
}

// previousLastUsed returns when a superseded credential was last accepted.
func (s *state[V, S]) previousLastUsed() time.Time {
	last := s.lastPrevious
	for i := range s.ledger.Entries {
		e := &s.ledger.Entries[i]
		if used := e.Use.Last(); e.Slot == rotation.Previous && used.After(last) {
			last = used
		}
	}
	return last
}

// A Snapshot holds what an Agent accepted and refused at one moment. Another Agent can
// start from a Snapshot (Config.From) or add it to its own state ([Agent.Merge]). A
// Snapshot is immutable, and formatting it shows no token. The zero Snapshot is that of
// an Agent that has read nothing.
type Snapshot struct {
	tokens sourceSnapshot[token.Token, token.Set]
	keys   []keySnapshot // one for each issuer
	byHand []rotation.ID // what Agent.Revoke revoked
	store  *stateStore
}

// A sourceSnapshot is the part of a Snapshot for one source.
type sourceSnapshot[V credential, S any] struct {
	state   *state[V, S] // nil if the Agent has no such source
	names   []string     // the current and former names of the source
	users   *previousUsers
	clients *clientUses
}

// A keySnapshot is the part of a Snapshot for the keys of one issuer.
type keySnapshot struct {
	sourceSnapshot[jwt.Key, jwt.KeySet]
	owner  keyOwner
	origin keyOrigin
	known  jwks.Known // of the server; zero if the keys come from a file
}

// A keyOrigin is where keys come from, and how they are read.
type keyOrigin struct{ kind, identity, url, algorithm string }

func (s *sourceSpec) origin() keyOrigin {
	return keyOrigin{s.kind, s.identity, s.issuer.JWKSURL, s.issuer.KeyAlgorithm} // identity is without the query of the URL
}

// restoreKnown lets the keys of k verify tokens before the server of src has answered, if
// they came from the same server.
func (k *keySnapshot) restoreKnown(src *keySource) {
	if src.spec.remote != nil && k.origin == src.spec.origin() {
		src.spec.remote.Restore(k.known)
	}
}

// Snapshot returns what the Agent accepts and refuses now or, after Close, what the
// Agent accepted and refused when it was closed. All Agents that start from a Snapshot
// share its superseded credentials: a use in one of them extends the overlap in all.
func (a *Agent) Snapshot() Snapshot {
	s := Snapshot{store: a.store}
	if a.tokens != nil {
		s.tokens = a.tokens.snapshot()
	}
	for _, src := range a.keys {
		k := keySnapshot{owner: src.spec.owner(), origin: src.spec.origin()}
		if src.spec.remote != nil {
			k.known = src.spec.remote.Known() // before the keys, which must not be older
		}
		k.sourceSnapshot = src.snapshot()
		s.keys = append(s.keys, k)
	}
	s.byHand = a.revokedByHand()
	return s
}

// Merge adds s to the state of a. s is a second Snapshot of the Agent from which a was
// started, taken after the one in Config.From. To replace an Agent while requests
// arrive:
//
//	from := old.Snapshot()
//	next, err := agent.Start(ctx, agent.Config{From: &from, ...})
//	err = next.Merge(old.Snapshot())
//	// hand requests to next
//	err = old.Close()
//
// After Merge, next refuses every credential that next or old had revoked or retired
// when the second Snapshot was taken, except for a revocation that the source of next has
// lifted but the source of old has not. next accepts each superseded credential of old
// until its deadline in old. If the source of next does not declare the current credential
// of old, next accepts it as superseded at the time of Merge. Anything else that the source
// of old declares, next accepts only if its own source declares it.
//
// Two kinds of calls on old are lost: Revoke and Retire after the second Snapshot, and
// Unrevoke between the two Snapshots. Make them on next instead, and Unrevoke after Merge.
//
// From Merge on, a writes the state file. An error means that the file could not be
// written. After Close of a, the error is [ErrClosed].
func (a *Agent) Merge(s Snapshot) error {
	a.takeByHand(s.byHand)
	byHand := rotation.Snapshot{Revoked: s.byHand}
	switch {
	case a.tokens == nil:
	case s.tokens.state == nil:
		a.tokens.adopt(byHand)
	default:
		a.tokens.merge(s.tokens.state)
	}
	for _, src := range a.keys {
		from, sameOwner := a.keysOf(&s, src)
		if sameOwner {
			if !src.value.Load().hasRead {
				from.restoreKnown(src)
			}
			src.merge(from.state)
			continue
		}
		if from == nil {
			src.adopt(byHand)
		}
		for _, k := range a.refusedBy(&s, from) {
			src.adopt(k.state.ledger.Snapshot(time.Now(), nil))
		}
	}
	if a.closed.Load() {
		return ErrClosed
	}
	if a.store != nil {
		a.store.setOwner(a)
	}
	return a.save()
}

// startFrom initializes the sources and the state store of a from s.
func (a *Agent) startFrom(s *Snapshot) {
	a.takeByHand(s.byHand)
	byHand := rotation.Snapshot{Revoked: s.byHand}
	switch {
	case a.tokens == nil:
	case s.tokens.state == nil:
		a.tokens.restoreRefusals(byHand)
	default:
		a.tokens.startFrom(s.tokens)
	}
	for _, src := range a.keys {
		from, sameOwner := a.keysOf(s, src)
		if sameOwner {
			from.restoreKnown(src)
			src.startFrom(from.sourceSnapshot)
			continue
		}
		if from != nil {
			src.addFormerNames(from.names)
		} else {
			src.restoreRefusals(byHand)
		}
		for _, k := range a.refusedBy(s, from) {
			src.restoreRefusals(k.state.ledger.Snapshot(time.Now(), nil))
		}
	}
	for _, src := range a.keys { // the name of a present source stands for that source alone
		src.formerNames = slices.DeleteFunc(src.formerNames, func(name string) bool {
			return slices.ContainsFunc(a.keys, func(other *keySource) bool { return other.spec.name == name })
		})
	}
	switch {
	case a.cfg.StateFile == "":
	case s.store != nil && s.store.cfg.StateFile == a.cfg.StateFile:
		a.store = s.store
	default:
		a.store = &stateStore{cfg: a.cfg}
	}
}

// keysOf returns the part of s that src continues: that of the same owner or, if there is
// none, that of the same name or the only one. From that of another owner src may take
// revocations and retirements, but no keys, because they would verify tokens of an issuer
// that never had them.
func (a *Agent) keysOf(s *Snapshot, src *keySource) (from *keySnapshot, sameOwner bool) {
	for i := range s.keys {
		k := &s.keys[i]
		if k.owner == src.spec.owner() {
			return k, true
		}
		if slices.Contains(k.names, src.spec.name) || len(s.keys) == 1 && len(a.keys) == 1 {
			from = k
		}
	}
	return from, false
}

// refusedBy returns the parts of s whose revocations and retirements a source takes that
// continues from, of another owner. If from is nil, these are the parts that no source of
// a continues: the source may be one of them, with another name and issuer.
func (a *Agent) refusedBy(s *Snapshot, from *keySnapshot) []*keySnapshot {
	if from != nil {
		return []*keySnapshot{from}
	}
	var orphans []*keySnapshot
	for i := range s.keys {
		k := &s.keys[i]
		if !slices.ContainsFunc(a.keys, func(src *keySource) bool { from, _ := a.keysOf(s, src); return from == k }) {
			orphans = append(orphans, k)
		}
	}
	return orphans
}

func (src *source[V, S]) snapshot() sourceSnapshot[V, S] {
	s := *src.value.Load()
	s.closed, s.hasRead = false, false
	return sourceSnapshot[V, S]{state: &s, names: append(slices.Clone(src.formerNames), src.spec.name), users: src.users, clients: src.clients}
}

// startFrom makes s the initial state of src.
func (src *source[V, S]) startFrom(s sourceSnapshot[V, S]) {
	src.initial, src.users, src.clients = s.state, s.users, s.clients
	src.addFormerNames(s.names)
}

func (src *source[V, S]) addFormerNames(names []string) {
	for _, name := range names {
		if name != src.spec.name && !slices.Contains(src.formerNames, name) {
			src.formerNames = append(src.formerNames, name)
		}
	}
}

// merge adds other to the state of src.
func (src *source[V, S]) merge(other *state[V, S]) {
	src.apply(func(s *state[V, S], now time.Time) *state[V, S] {
		next, more := *s, other
		if !s.hasRead && other.loaded { // keep what other read: it is newer than a Snapshot
			next, more = *other, s
		}
		return src.with(&next, next.ledger.Merge(more.ledger, now, src.spec.window), nil)
	})
}
