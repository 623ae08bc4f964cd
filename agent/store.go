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

// A stateStore writes down what must outlive the process: which credential was
// current, the windows of superseded ones, and what was revoked or retired. It
// writes no token, only SHA-256 digests; of verification keys also those that are
// public.
type stateStore struct {
	cfg   *resolved
	fault atomic.Pointer[string] // of the last read or write; nil for none

	mu      sync.Mutex
	owner   *Agent // the one that writes; nil for the first that has something to
	logged  string
	written string // the payload that we read or wrote last; "" for none yet
}

// written is the form of the state file. Digests are hex, times RFC 3339.
type storedState struct {
	Schema  int            `json:"schema"`
	Sources []storedSource `json:"sources"`
}

// A writtenSource is what one source left. It is tied to that: the tokens of
// another must never be accepted.
type storedSource struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"`
	Location  string         `json:"location"`
	Entries   []storedRecord `json:"entries"`
	Revoked   []string       `json:"revoked,omitempty"`
	Unrevoked []string       `json:"unrevoked,omitempty"` // by the last content
	// Names are what the revoked keys were called.
	Names    map[string][]string `json:"revoked_names,omitempty"`
	Retired  []string            `json:"retired,omitempty"`
	Ended    []string            `json:"ended,omitempty"`
	LastUsed time.Time           `json:"previous_last_used,omitzero"` // of what has left
}

type storedRecord struct {
	ID       string    `json:"sha256"` // of a key its thumbprint
	Slot     string    `json:"slot"`
	Declared bool      `json:"declared,omitempty"`
	LastUsed time.Time `json:"last_used,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	Cap      time.Time `json:"cap,omitzero"`
	Renewed  time.Time `json:"renewed,omitzero"`
	Order    int64     `json:"order,omitempty"`
	// Material is a verification key that is public.
	Material string `json:"public_key,omitempty"`
	Method   string `json:"alg,omitempty"`
	KeyID    string `json:"kid,omitempty"`
}

const storedSchema = 2

// newStateStore reads the state file of r into the sources. A file that is bad is a
// fault to be told and no reason not to start: then the old token is not
// accepted, and the current is.
func newStateStore(r *resolved, parts []credentialSource, now time.Time) *stateStore {
	k := &stateStore{cfg: r}
	payload, err := statefile.Load(r.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		payload, err = nil, nil
	}
	if payload != nil {
		err = k.restore(payload, parts, now)
	}
	k.note(err)
	return k
}

// restore puts into the sources what the file says of them.
func (k *stateStore) restore(payload []byte, parts []credentialSource, now time.Time) error {
	w, err := k.decode(payload, parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		for _, s := range w.Sources {
			if s.of(p.source()) && err == nil {
				err = p.restore(s, now)
			}
		}
	}
	if err != nil {
		for _, p := range parts {
			p.forget()
		}
		return k.damaged()
	}
	k.written = string(payload)
	return nil
}

// decode reads a payload and sees that it belongs to our sources.
func (k *stateStore) decode(payload []byte, parts []credentialSource) (*storedState, error) {
	var w storedState
	if json.Unmarshal(payload, &w) != nil || w.Schema < 1 {
		return nil, k.damaged()
	}
	if w.Schema < storedSchema {
		return nil, fmt.Errorf("%s: %w (schema %d) and replaced at the next change: what was revoked by hand before this start has to be revoked again", k.cfg.StateFile, errOldState, w.Schema)
	}
	if w.Schema > storedSchema {
		return nil, fmt.Errorf("%s: written by another version of tokenagent (schema %d); use that one, or remove the file", k.cfg.StateFile, w.Schema)
	}
	for _, s := range w.Sources {
		if !slices.ContainsFunc(parts, func(p credentialSource) bool { return s.of(p.source()) }) {
			return nil, fmt.Errorf("%s: it belongs to source %q from %s %s, not to this agent; give each agent a file of its own, or remove it",
				k.cfg.StateFile, s.Name, s.Kind, s.Location)
		}
	}
	return &w, nil
}

// errOldState says that a state file is of an earlier form, which knew tokens by
// salted names of its own.
var errOldState = errors.New("written by an older version of tokenagent, and not taken over")

func (w *storedSource) of(s *sourceSpec) bool {
	return w.Name == s.name && w.Kind == s.kind && w.Location == s.identity
}

func (k *stateStore) damaged() error {
	return fmt.Errorf("%s: %w: it holds no state; it is replaced at the next change", k.cfg.StateFile, statefile.ErrDamaged)
}

// save writes down what the sources say, if the file does not say so already. What
// is revoked or retired in a file that is not as we left it is taken over first:
// somebody may have put right what we could not read at the start, or another
// process of the same source may have written. Each source is asked in turn, so that
// no state is overwritten by an older one.
func (k *stateStore) save(a *Agent) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owner != nil && k.owner != a {
		return nil // the file is another's
	}
	k.owner = a
	parts, closed, written := a.sources, false, k.written
	err := statefile.Update(k.cfg.StateFile, func(old []byte, err error) ([]byte, error) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, statefile.ErrDamaged):
			old = nil
		case err != nil:
			return nil, err
		}
		if old != nil && string(old) != k.written {
			if err := k.merge(old, parts); err != nil {
				return nil, err
			}
		}
		payload, ok, err := k.encode(parts)
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
	if err == nil { // else it is as we left it before, and says nothing new
		k.written = written
	}
	k.note(err)
	return err
}

// claim makes a the one that writes.
func (k *stateStore) claim(a *Agent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owner = a
}

// release lets another Agent write, if a is the one that does.
func (k *stateStore) release(a *Agent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owner == a {
		k.owner = nil
	}
}

// merge takes over what a file revokes and retires that is not as we left it.
func (k *stateStore) merge(payload []byte, parts []credentialSource) error {
	w, err := k.decode(payload, parts)
	switch {
	case errors.Is(err, statefile.ErrDamaged), errors.Is(err, errOldState):
		return nil // and it is replaced
	case err != nil:
		return err
	}
	for _, p := range parts {
		for _, s := range w.Sources {
			if s.of(p.source()) {
				p.adopt(s)
			}
		}
	}
	return nil
}

// encode returns what the sources say, and false where there is nothing any more.
func (k *stateStore) encode(parts []credentialSource) (payload []byte, ok bool, err error) {
	w := storedState{Schema: storedSchema}
	now := time.Now()
	for _, p := range parts {
		s, ok := p.write(now)
		if !ok {
			return nil, false, nil
		}
		w.Sources = append(w.Sources, s)
	}
	payload, err = json.Marshal(w)
	return payload, true, err
}

// decodeDigest returns the 32 bytes that text says, and whether it says any.
func decodeDigest(text string) (b [32]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(b)) {
		return b, false
	}
	_, err := hex.Decode(b[:], []byte(text))
	return b, err == nil
}

// note remembers the fault of a read or write, and logs it once until it changes.
// mu must be held, but in newKeeper.
func (k *stateStore) note(err error) {
	healed := err == nil && k.fault.Load() != nil
	if err == nil {
		k.fault.Store(nil)
	} else {
		text := err.Error()
		k.fault.Store(&text)
	}
	switch {
	case err != nil && err.Error() != k.logged:
		k.logged = err.Error()
		k.cfg.Logger.Error("the state file is bad: a restart forgets superseded tokens and what was revoked by hand", "error", err)
	case healed:
		k.logged = ""
		k.cfg.Logger.Info("the state file is good again")
	}
}

// errorText says what is wrong with the state file, and "" if nothing is. It does
// not wait for one that is being written.
func (k *stateStore) errorText() string {
	if text := k.fault.Load(); text != nil {
		return *text
	}
	return ""
}

// remember writes down every change, and at every poll the uses since, until ctx
// ends.
func (a *Agent) saveChanges(ctx context.Context) {
	every := a.cfg.Poll
	if every <= 0 {
		every = defaultFlush
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		changed := a.Updated()
		_ = a.save() // is in the log and the status
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// defaultFlush is how often uses are written down where nothing is polled.
const defaultFlush = 10 * time.Second

// save writes down what there is now. It does nothing without a state file.
func (a *Agent) save() error {
	if a.store == nil {
		return nil
	}
	return a.store.save(a)
}
