package agent

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/agent/internal/statefile"
)

// A stateStore saves in the state file what must survive a restart: which credential
// was current, the windows of superseded credentials, revocations and retirements. It
// stores SHA-256 digests and public keys, but no token and no secret.
type stateStore struct {
	cfg *resolved
	err atomic.Pointer[string] // the error of the last read or write; nil if it succeeded

	mu      sync.Mutex
	owner   *Agent // the Agent that writes; nil means the next one that saves
	logged  string // the error that was logged last
	written string // the payload that this process read or wrote last; "" for none
}

// storedState is the format of the state file. Digests are in hex, times as in RFC 3339.
type storedState struct {
	Schema  int            `json:"schema"`
	Sources []storedSource `json:"sources"`
}

// A storedSource is the saved state of one source. Its name, kind and location identify
// the source, since an Agent must never accept the tokens of another source.
type storedSource struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"`
	Location  string         `json:"location"`
	Entries   []storedRecord `json:"entries"`
	Revoked   []string       `json:"revoked,omitempty"`
	Unrevoked []string       `json:"unrevoked,omitempty"` // by the last content of the source
	// Names are the names of the revoked keys.
	Names    map[string][]string `json:"revoked_names,omitempty"`
	Retired  []string            `json:"retired,omitempty"`
	Ended    []string            `json:"ended,omitempty"`
	LastUsed time.Time           `json:"previous_last_used,omitzero"` // of credentials that have been removed
}

// A storedRecord is the saved state of one credential.
type storedRecord struct {
	ID       string    `json:"sha256"` // for a key, its thumbprint (RFC 7638)
	Slot     string    `json:"slot"`
	Declared bool      `json:"declared,omitempty"`
	LastUsed time.Time `json:"last_used,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	Cap      time.Time `json:"cap,omitzero"`
	Renewed  time.Time `json:"renewed,omitzero"`
	Order    int64     `json:"order,omitempty"`
	// Material is a public key (PKIX DER in base64); "" for a token or a secret.
	Material string `json:"public_key,omitempty"`
	Method   string `json:"alg,omitempty"`
	KeyID    string `json:"kid,omitempty"`
}

const storedSchema = 2

// newStateStore restores the sources from the state file of r. If the file is
// unusable, the error is logged and shown in Status, and the Agent starts without the
// old tokens.
func newStateStore(r *resolved, sources []credentialSource, now time.Time) *stateStore {
	st := &stateStore{cfg: r}
	payload, err := statefile.Load(r.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		payload, err = nil, nil
	}
	if payload != nil {
		err = st.restore(payload, sources, now)
	}
	st.setError(err)
	return st
}

// restore restores the sources from payload: all of them or, after an error, none.
func (st *stateStore) restore(payload []byte, sources []credentialSource, now time.Time) error {
	w, err := st.decode(payload, sources)
	if err != nil {
		return err
	}
	for _, p := range sources {
		for _, s := range w.Sources {
			if s.belongsTo(p.source()) && err == nil {
				err = p.restore(s, now)
			}
		}
	}
	if err != nil {
		for _, p := range sources {
			p.forget()
		}
		return st.damaged()
	}
	st.written = string(payload)
	return nil
}

// decode parses payload and checks that it belongs to the sources of this Agent.
func (st *stateStore) decode(payload []byte, sources []credentialSource) (*storedState, error) {
	var w storedState
	if json.Unmarshal(payload, &w) != nil || w.Schema < 1 {
		return nil, st.damaged()
	}
	if w.Schema < storedSchema {
		return nil, fmt.Errorf("%s: %w (schema %d) and replaced at the next change: what was revoked by hand before this start has to be revoked again", st.cfg.StateFile, errOldState, w.Schema)
	}
	if w.Schema > storedSchema {
		return nil, fmt.Errorf("%s: written by another version of tokenagent (schema %d); use that one, or remove the file", st.cfg.StateFile, w.Schema)
	}
	for _, s := range w.Sources {
		if !slices.ContainsFunc(sources, func(p credentialSource) bool { return s.belongsTo(p.source()) }) {
			return nil, fmt.Errorf("%s: it belongs to source %q from %s %s, not to this agent; give each agent a file of its own, or remove it",
				st.cfg.StateFile, s.Name, s.Kind, s.Location)
		}
	}
	return &w, nil
}

// errOldState is the error of a state file in an earlier format, which identified tokens
// by salted digests.
var errOldState = errors.New("written by an older version of tokenagent, and not used")

// belongsTo reports whether w is the saved state of s.
func (w *storedSource) belongsTo(s *sourceSpec) bool {
	return w.Name == s.name && w.Kind == s.kind && w.Location == s.identity
}

func (st *stateStore) damaged() error {
	return fmt.Errorf("%s: %w: it holds no state; it is replaced at the next change", st.cfg.StateFile, statefile.ErrDamaged)
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
	sources, closed, written := a.sources, false, st.written
	err := statefile.Update(st.cfg.StateFile, func(old []byte, err error) ([]byte, error) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, statefile.ErrDamaged):
			old = nil
		case err != nil:
			return nil, err
		}
		if old != nil && string(old) != st.written {
			if err := st.merge(old, sources); err != nil {
				return nil, err
			}
		}
		payload, ok, err := st.encode(sources)
		if closed = !ok; err != nil || !ok {
			return nil, err
		}
		written = string(payload)
		if old != nil && string(old) == written {
			return nil, nil
		}
		return payload, nil
	})
	if closed {
		return ErrClosed
	}
	if err == nil { // after an error the file is unchanged
		st.written = written
	}
	st.setError(err)
	return err
}

// claim makes a the Agent that writes the file.
func (st *stateStore) claim(a *Agent) {
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

// merge adopts the revocations and retirements of payload, which another process or a
// person wrote.
func (st *stateStore) merge(payload []byte, sources []credentialSource) error {
	w, err := st.decode(payload, sources)
	switch {
	case errors.Is(err, statefile.ErrDamaged), errors.Is(err, errOldState):
		return nil // save replaces the file
	case err != nil:
		return err
	}
	for _, p := range sources {
		for _, s := range w.Sources {
			if s.belongsTo(p.source()) {
				p.adopt(s)
			}
		}
	}
	return nil
}

// encode returns the payload for the state of the sources. ok is false if a source has
// been closed without a last state.
func (st *stateStore) encode(sources []credentialSource) (payload []byte, ok bool, err error) {
	w := storedState{Schema: storedSchema}
	now := time.Now()
	for _, p := range sources {
		s, ok := p.write(now)
		if !ok {
			return nil, false, nil
		}
		w.Sources = append(w.Sources, s)
	}
	payload, err = json.Marshal(w)
	return payload, true, err
}

// decodeDigest decodes 64 hex digits. ok is false if text has another form.
func decodeDigest(text string) (b [32]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(b)) {
		return b, false
	}
	_, err := hex.Decode(b[:], []byte(text))
	return b, err == nil
}

// setError records the result of a read or write and logs it if it has changed. The
// caller must hold mu, except in newStateStore.
func (st *stateStore) setError(err error) {
	recovered := err == nil && st.err.Load() != nil
	if err == nil {
		st.err.Store(nil)
	} else {
		text := err.Error()
		st.err.Store(&text)
	}
	switch {
	case err != nil && err.Error() != st.logged:
		st.logged = err.Error()
		st.cfg.Logger.Error("the state file is bad: a restart forgets superseded tokens and what was revoked by hand", "error", err)
	case recovered:
		st.logged = ""
		st.cfg.Logger.Info("the state file is good again")
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

// defaultFlush is the interval at which uses are saved if polling is off.
const defaultFlush = 10 * time.Second

// save writes the state file, if there is one.
func (a *Agent) save() error {
	if a.store == nil {
		return nil
	}
	return a.store.save(a)
}
