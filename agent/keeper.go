package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/agent/internal/statefile"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A keeper writes down what must outlive the process: which credential was
// current, the windows of superseded ones, and what was revoked or retired by
// hand. It writes no token, only salted HMACs and fingerprints; of verification
// keys also those that are public.
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
	Key     string          `json:"key"` // of the HMACs below
	Sources []writtenSource `json:"sources"`
}

// A writtenSource is what one source left. It is tied to that: the tokens of
// another must never be accepted.
type writtenSource struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Location string          `json:"location"`
	Entries  []writtenRecord `json:"entries"`
	Revoked  []string        `json:"revoked,omitempty"`
	Retired  []string        `json:"retired,omitempty"`
}

type writtenRecord struct {
	Name        string    `json:"hmac"`
	Fingerprint string    `json:"fingerprint"`
	Slot        string    `json:"slot"`
	Deadline    time.Time `json:"deadline,omitzero"`
	Slides      bool      `json:"slides,omitempty"`
	Renewed     time.Time `json:"renewed,omitzero"`
	LastUsed    time.Time `json:"last_used,omitzero"`
	// Material is a verification key that is public.
	Material string `json:"public_key,omitempty"`
	Method   string `json:"alg,omitempty"`
	KeyID    string `json:"kid,omitempty"`
}

const writtenSchema = 1

// newKeeper reads the state file of r into the parts. A file that is bad is a
// fault to be told and no reason not to start: then the old token is not
// accepted, and the current is.
func newKeeper(r *resolved, parts []part, now time.Time) *keeper {
	k := &keeper{cfg: r}
	_, _ = rand.Read(k.key[:]) // never fails, see its documentation
	w, err := k.load(parts)
	if err == nil && w != nil {
		fresh := k.key
		k.key, _ = unhex(w.Key)
		for _, p := range parts {
			for _, s := range w.Sources {
				if err == nil && s.of(p.source()) {
					err = p.restore(k, s, now)
				}
			}
		}
		if err != nil {
			k.key = fresh
			for _, p := range parts {
				_ = p.restore(k, writtenSource{}, now)
			}
		}
	}
	k.memory = verify.NewMemory(k.key)
	k.note(err)
	return k
}

// load reads the file and sees that it belongs to our sources. A file that is not
// there is no error, and gives nil.
func (k *keeper) load(parts []part) (*written, error) {
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
	if _, ok := unhex(w.Key); !ok {
		return nil, k.damaged()
	}
	for _, s := range w.Sources {
		if !slices.ContainsFunc(parts, func(p part) bool { return s.of(p.source()) }) {
			return nil, fmt.Errorf("%s: it belongs to source %q from %s %s, not to this agent; give each agent a file of its own, or remove it",
				k.cfg.StateFile, s.Name, s.Kind, s.Location)
		}
	}
	return &w, nil
}

func (w *writtenSource) of(s *source) bool {
	return w.Name == s.name && w.Kind == s.kind && w.Location == s.identity
}

func (k *keeper) damaged() error {
	return fmt.Errorf("%s: %w: it holds no state; it is replaced at the next change", k.cfg.StateFile, statefile.ErrDamaged)
}

// save writes down what the parts say, if the file does not say so already. Each
// part is asked in turn, so that no state is overwritten by an older one; it
// answers false where there is nothing to write any more.
func (k *keeper) save(parts []part) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := written{Schema: writtenSchema, Key: hex.EncodeToString(k.key[:])}
	now := time.Now()
	for _, p := range parts {
		s, ok := p.write(k, now)
		if !ok {
			return ErrClosed
		}
		w.Sources = append(w.Sources, s)
	}
	payload, err := json.Marshal(w)
	if err == nil && string(payload) == k.written && k.fault == nil {
		return nil
	}
	if err == nil && k.written == "" {
		// A file that is another's is not replaced. It may have gone, or have been
		// put right, since it was last looked at.
		if _, err = k.load(parts); errors.Is(err, statefile.ErrDamaged) {
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

// unhex returns the 32 bytes that text says, and whether it says any.
func unhex(text string) (b [32]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(b)) {
		return b, false
	}
	_, err := hex.Decode(b[:], []byte(text))
	return b, err == nil
}

// note remembers the fault of a read or write, and logs it once until it changes.
// mu must be held, but in newKeeper.
func (k *keeper) note(err error) {
	healed := err == nil && k.fault != nil
	k.fault = err
	switch {
	case err != nil && err.Error() != k.said:
		k.said = err.Error()
		k.cfg.Logger.Error("the state file is bad: a restart forgets superseded tokens and what was revoked by hand", "error", err)
	case healed:
		k.said = ""
		k.cfg.Logger.Info("the state file is good again")
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

// remember writes down every change, and at every poll the uses since, until ctx
// ends.
func (a *Agent) remember(ctx context.Context) {
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
	if a.keeper == nil {
		return nil
	}
	return a.keeper.save(a.parts)
}
