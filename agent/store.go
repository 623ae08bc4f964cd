package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/agent/internal/statefile"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A stateStore saves in the state file what must survive a restart: which credential
// was current, the windows of superseded credentials, revocations and retirements. It
// stores SHA-256 digests and public keys, but no token and no secret.
type stateStore struct {
	cfg *resolved
	err atomic.Pointer[string] // the error of the last read or write; nil if it succeeded

	mu      sync.Mutex
	owner   *Agent // the Agent that writes; nil means the next one that saves
	written string // the payload that this process read or wrote last; "" for none
}

// storedState is the format of the state file. Digests are in hex, times as in RFC 3339.
type storedState struct {
	Schema  int            `json:"schema"`
	Sources []storedSource `json:"sources"`
	// RevokedByHand lists the IDs that Agent.Revoke revoked, for sources that are added later.
	RevokedByHand []rotation.ID `json:"revoked_by_hand,omitempty"`
}

const storedSchema = 2

// A storedSource is the saved state of one source. Its name, kind and location identify
// the source, since an Agent must never accept the tokens of another source.
type storedSource struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Location string `json:"location"`
	// Issuer and IssuerKind are the owner of the keys of a key source.
	Issuer     string `json:"issuer,omitempty"`
	IssuerKind string `json:"issuer_kind,omitempty"`
	rotation.Snapshot
	LastUsed time.Time   `json:"previous_last_used,omitzero"` // of credentials that have been removed
	Clients  []storedUse `json:"clients,omitempty"`
}

// belongsTo reports whether w is the saved state of s.
func (w *storedSource) belongsTo(s credentialSource) bool {
	spec := s.info()
	return w.Name == spec.name && w.Kind == spec.kind && w.Location == spec.identity
}

// isKeys reports whether w is the state of a key source.
func (w *storedSource) isKeys() bool {
	switch w.Kind {
	case kindKeyFile, kindJWKSURL, kindFound, kindKubernetes:
		return true
	default:
		return false
	}
}

// newStateStore restores a and its sources from the state file. If the file is unusable, the
// error is logged and shown in Status, and the Agent starts without the old tokens.
func newStateStore(a *Agent, now time.Time) *stateStore {
	st := &stateStore{cfg: a.cfg}
	payload, err := statefile.Load(a.cfg.StateFile)
	if err == nil {
		err = st.each(payload, a, func(s credentialSource, w storedSource) { s.restore(w, now) }, credentialSource.restoreRefusals)
	}
	if err == nil {
		st.written = string(payload)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	st.setError(err)
	return st
}

// each calls f for each source of a with its saved state in payload. If payload is invalid or
// belongs to another source, each returns an error and calls nothing. Beside the state of
// one of the sources, payload may hold that of an issuer that is no longer configured, or has
// another name or location now: with it each calls refusals for each key source that has
// no state of its own. Sources without a state of their own also get what was revoked by hand.
func (st *stateStore) each(payload []byte, a *Agent, f func(credentialSource, storedSource), refusals func(credentialSource, rotation.Snapshot)) error {
	sources := a.sources
	var state storedState
	err := json.Unmarshal(payload, &state)
	switch {
	case state.Schema > 0 && state.Schema != storedSchema: // even if err is not nil: that version may use other types
		return fmt.Errorf("%s: written by another version of tokenagent (schema %d); use that one, or remove the file", st.cfg.StateFile, state.Schema)
	case err != nil || state.Schema != storedSchema:
		return fmt.Errorf("%s: %w: it holds no state; it is replaced at the next change", st.cfg.StateFile, statefile.ErrDamaged)
	}
	isOurs := func(w storedSource) bool { return slices.ContainsFunc(sources, w.belongsTo) }
	anyOurs := slices.ContainsFunc(state.Sources, isOurs)
	owners := make([]credentialSource, len(state.Sources)) // nil for an issuer that is gone
	for i, w := range state.Sources {
		at := slices.IndexFunc(sources, w.belongsTo)
		switch {
		case at >= 0:
			owners[i] = sources[at]
		case !anyOurs || !w.isKeys():
			return fmt.Errorf("%s: it belongs to source %q from %s %s, not to this agent; give each agent a file of its own, or remove it",
				st.cfg.StateFile, w.Name, w.Kind, w.Location)
		}
	}
	isNew := func(s credentialSource) bool {
		return s.info().method == verify.MethodJWT && !slices.Contains(owners, s)
	}
	for i, w := range state.Sources {
		if owners[i] != nil {
			f(owners[i], w)
			continue
		}
		for _, s := range sources {
			if isNew(s) {
				refusals(s, w.Snapshot)
			}
		}
	}
	a.takeByHand(state.RevokedByHand)
	for _, s := range sources {
		if !slices.Contains(owners, s) {
			refusals(s, rotation.Snapshot{Revoked: state.RevokedByHand})
		}
	}
	return nil
}

// save writes the state of a's sources to the file, unless the file has that state
// already. If the file has changed since this process read or wrote it, save first adopts
// its revocations and retirements: somebody may have fixed a file that was unreadable at
// the start, or another process with the same source may have written it. save holds mu
// while it reads the states, so that no state overwrites a newer one.
func (st *stateStore) save(a *Agent) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.owner != nil && st.owner != a {
		return nil // another Agent writes the file
	}
	st.owner = a
	written := st.written
	err := statefile.Update(st.cfg.StateFile, func(old []byte, err error) ([]byte, error) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, statefile.ErrDamaged):
			old = nil
		case err != nil:
			return nil, err
		case string(old) != st.written:
			adopt := func(s credentialSource, w storedSource) { s.adopt(w.Snapshot) }
			if err := st.each(old, a, adopt, credentialSource.adopt); err != nil && !errors.Is(err, statefile.ErrDamaged) {
				return nil, err
			}
		}
		state, now := storedState{Schema: storedSchema}, time.Now()
		for _, src := range a.sources {
			state.Sources = append(state.Sources, src.stored(now))
		}
		state.RevokedByHand = a.revokedByHand()
		payload, err := json.Marshal(state)
		if err != nil {
			return nil, err
		}
		if written = string(payload); old != nil && string(old) == written {
			return nil, nil
		}
		return payload, nil
	})
	if err == nil { // after an error the file is unchanged
		st.written = written
	}
	st.setError(err)
	return err
}

// setOwner makes a the Agent that writes the file.
func (st *stateStore) setOwner(a *Agent) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.owner = a
}

// release lets another Agent write the file if a is the one that writes it.
func (st *stateStore) release(a *Agent) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.owner == a {
		st.owner = nil
	}
}

// setError records the result of a read or write and logs it if it has changed.
func (st *stateStore) setError(err error) {
	before := st.errorText()
	if err == nil {
		st.err.Store(nil)
		if before != "" {
			st.cfg.Logger.Info("the state file is good again")
		}
		return
	}
	text := err.Error()
	st.err.Store(&text)
	if text != before {
		st.cfg.Logger.Error("the state file is bad: a restart forgets superseded tokens and what was revoked by hand", "error", err)
	}
}

// errorText returns the error of the last read or write of the state file, and "" if it
// succeeded. errorText does not wait for a write in progress.
func (st *stateStore) errorText() string {
	if text := st.err.Load(); text != nil {
		return *text
	}
	return ""
}

// defaultFlush is the interval at which uses are saved if polling is off.
const defaultFlush = 10 * time.Second

// saveChanges saves the state at every change, and the recorded uses at every poll
// interval, until ctx ends.
func (a *Agent) saveChanges(ctx context.Context) {
	every := a.cfg.Poll
	if every <= 0 {
		every = defaultFlush
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		changed := a.Updated()
		_ = a.save() // save logs the error; Status shows it
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// save writes the state file, if there is one.
func (a *Agent) save() error {
	if a.store == nil {
		return nil
	}
	return a.store.save(a)
}

// restoreRefusals adds the revocations and retirements of m to the initial state.
func (src *source[V, S]) restoreRefusals(m rotation.Snapshot) {
	initial := *src.initial
	initial.ledger = initial.ledger.Adopt(m, func(rotation.ID) bool { return false })
	src.initial = &initial
}

// restore makes the state in w the initial state. Of the keys of another owner it takes
// only the refusals, because they would verify tokens that this owner never signed.
func (src *source[V, S]) restore(w storedSource, now time.Time) {
	if (keyOwner{w.IssuerKind, w.Issuer}) != src.spec.owner() {
		src.restoreRefusals(w.Snapshot)
		return
	}
	src.initial = &state[V, S]{ledger: rotation.Restore(w.Snapshot, now, src.spec.window, src.decode), lastPrevious: w.LastUsed}
	// The ledger has no current credential if it is revoked or its value is not stored.
	src.initial.current = make(map[string]rotation.ID)
	for _, e := range w.Entries {
		if e.Slot == rotation.Current {
			src.initial.current[e.Client] = e.ID
		}
	}
	src.clients.restore(w.Clients, now)
}

// adopt adds the revocations and retirements of m to the state, also after Close.
func (src *source[V, S]) adopt(m rotation.Snapshot) {
	src.value.Apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		l := s.ledger.Adopt(m, func(id rotation.ID) bool { return slices.Contains(s.lifted, id) })
		if l == s.ledger {
			return s
		}
		return src.with(s, l, nil)
	})
	src.logLatest()
}

// stored returns the state to save.
func (src *source[V, S]) stored(now time.Time) storedSource {
	s, owner := src.value.Load(), src.spec.owner()
	return storedSource{
		Name: src.spec.name, Kind: src.spec.kind, Location: src.spec.identity, Issuer: owner.value, IssuerKind: owner.kind,
		Snapshot: s.ledger.Snapshot(now, src.encode), LastUsed: utc(s.lastPrevious), Clients: src.clients.stored(),
	}
}
