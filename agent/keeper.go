package agent

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/agent/internal/statefile"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A keeper writes down what must outlive the process: which token was current,
// the windows of superseded ones, and what was revoked or retired by hand. It
// writes no token, only salted HMACs and fingerprints.
type keeper struct {
	cfg    *resolved
	key    [verify.MemoryKeyBytes]byte
	memory *verify.Memory

	mu      sync.Mutex
	fault   error // of the last read or write
	said    string
	written string // the payload that we wrote last; "" for none yet
}

// written is the form of the state file. Names are hex, times RFC 3339.
type written struct {
	Schema  int             `json:"schema"`
	Source  writtenSource   `json:"source"`
	Key     string          `json:"key"` // of the HMACs below
	Tokens  []writtenRecord `json:"tokens"`
	Revoked []string        `json:"revoked,omitempty"`
	Retired []string        `json:"retired,omitempty"`
}

// A writtenSource ties the file to its source: the tokens of another must never
// be accepted.
type writtenSource struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Location string `json:"location"`
}

type writtenRecord struct {
	Name        string    `json:"hmac"`
	Fingerprint string    `json:"fingerprint"`
	Slot        string    `json:"slot"`
	Deadline    time.Time `json:"deadline,omitzero"`
	Slides      bool      `json:"slides,omitempty"`
	Renewed     time.Time `json:"renewed,omitzero"`
	LastUsed    time.Time `json:"last_used,omitzero"`
}

const writtenSchema = 1

// newKeeper reads the state file of r and returns the state to go on from, which
// is nil where there is none. A file that is bad is a fault to be told and no
// reason not to start: then the old token is not accepted, and the current is.
func newKeeper(r *resolved, now time.Time) (*keeper, *state) {
	k := &keeper{cfg: r}
	_, _ = rand.Read(k.key[:]) // never fails, see its documentation
	w, err := k.load()
	var s *state
	if err == nil {
		s, err = k.restore(w, now)
	}
	k.memory = verify.NewMemory(k.key)
	k.note(err)
	return k, s
}

// load reads the file and sees that it belongs to our source. A file that is not
// there is no error, and gives nil.
func (k *keeper) load() (*written, error) {
	payload, err := statefile.Load(k.cfg.StateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // nothing was written yet, and that is no fault
	case err != nil:
		return nil, err
	}
	var w written
	if json.Unmarshal(payload, &w) != nil {
		return nil, k.damaged()
	}
	if w.Schema != writtenSchema {
		return nil, fmt.Errorf("%s: written by another version of tokenagent (schema %d); use that one, or remove the file", k.cfg.StateFile, w.Schema)
	}
	if w.Source != k.source() {
		return nil, fmt.Errorf("%s: it belongs to source %q from %s %s, not to this one; give each source a file of its own, or remove it",
			k.cfg.StateFile, w.Source.Name, w.Source.Kind, w.Source.Location)
	}
	return &w, nil
}

func (k *keeper) damaged() error {
	return fmt.Errorf("%s: %w: it holds no state; it is replaced at the next change", k.cfg.StateFile, statefile.ErrDamaged)
}

// restore takes over the key of w, which may be nil, and returns the state that
// w says.
func (k *keeper) restore(w *written, now time.Time) (*state, error) {
	if w == nil {
		return nil, nil //nolint:nilnil // there is nothing to restore, and that is no fault
	}
	key, good := unhex(w.Key)
	memory := verify.NewMemory(key)
	s := &state{names: make(map[rotation.ID]struct{})}
	name := func(text string) rotation.ID {
		id, ok := unhex(text)
		good = good && ok
		s.names[id] = struct{}{}
		return id
	}
	var records []rotation.Record[verify.Token]
	for _, t := range w.Tokens {
		id, slot := name(t.Name), rotation.Previous
		if t.Slot == rotation.Current.String() {
			slot = rotation.Current
		}
		records = append(records, rotation.Record[verify.Token]{
			ID: id, Value: memory.Token(id, t.Fingerprint), Slot: slot,
			Deadline: t.Deadline, Slides: t.Slides, Renewed: t.Renewed, LastUsed: t.LastUsed,
		})
	}
	for _, text := range w.Revoked {
		s.manual = append(s.manual, name(text))
	}
	var retired []rotation.ID
	for _, text := range w.Retired {
		retired = append(retired, name(text))
	}
	if !good {
		return nil, k.damaged()
	}
	k.key = key
	s.ledger = rotation.Restore(records, retired, now, k.cfg.window)
	if c, ok := s.ledger.Current(); ok {
		s.current = c.ID
	}
	return s, nil
}

// unhex returns the 32 bytes that text says, and whether it says any.
func unhex(text string) (b [32]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(b)) {
		return b, false
	}
	_, err := hex.Decode(b[:], []byte(text))
	return b, err == nil
}

func (k *keeper) source() writtenSource {
	return writtenSource{Name: k.cfg.Name, Kind: k.cfg.kind, Location: k.cfg.identity}
}

// save writes down what load returns, if the file does not say so already. load
// is called in turn, so that no state is overwritten by an older one; it returns
// nil where there is nothing to write any more.
func (k *keeper) save(load func() *state) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := load()
	if s == nil {
		return ErrClosed
	}
	payload, err := json.Marshal(k.write(s, time.Now()))
	if err == nil && string(payload) == k.written && k.fault == nil {
		return nil
	}
	if err == nil && k.written == "" {
		// A file that is another's is not replaced. It may have gone, or have been
		// put right, since it was last looked at.
		if _, err = k.load(); errors.Is(err, statefile.ErrDamaged) {
			err = nil
		}
	}
	if err == nil {
		err = statefile.Store(k.cfg.StateFile, payload)
	}
	if err == nil {
		k.written = string(payload)
	}
	k.note(err)
	return err
}

func (k *keeper) write(s *state, now time.Time) written {
	w := written{Schema: writtenSchema, Source: k.source(), Key: hex.EncodeToString(k.key[:])}
	name := func(id rotation.ID) string {
		if _, is := s.names[id]; !is {
			id = k.memory.Name(id)
		}
		return hex.EncodeToString(id[:])
	}
	records, retired := s.ledger.Records(now)
	for _, r := range records {
		w.Tokens = append(w.Tokens, writtenRecord{
			Name: name(r.ID), Fingerprint: r.Value.Fingerprint(), Slot: r.Slot.String(),
			Deadline: utc(r.Deadline), Slides: r.Slides, Renewed: utc(r.Renewed), LastUsed: utc(r.LastUsed),
		})
	}
	for _, id := range s.manual {
		w.Revoked = append(w.Revoked, name(id))
	}
	for _, id := range retired {
		w.Retired = append(w.Retired, name(id))
	}
	return w
}

// note remembers the fault of a read or write, and logs it once until it changes.
// mu must be held, but in newKeeper.
func (k *keeper) note(err error) {
	healed := err == nil && k.fault != nil
	k.fault = err
	switch {
	case err != nil && err.Error() != k.said:
		k.said = err.Error()
		k.cfg.Logger.Error("the state file is bad: a restart forgets superseded tokens and what was revoked by hand", "source", k.cfg.Name, "error", err)
	case healed:
		k.said = ""
		k.cfg.Logger.Info("the state file is good again", "source", k.cfg.Name)
	}
}

// faultText says what is wrong with the state file, and "" if nothing is. The
// nil keeper has none.
func (k *keeper) faultText() string {
	if k == nil {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fault == nil {
		return ""
	}
	return k.fault.Error()
}
