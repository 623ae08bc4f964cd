package agent

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/buildinfo"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// StatusSchema is the value of Status.Schema: the version of the format.
const StatusSchema = 1

// A Status describes the state of an Agent. It contains fingerprints but no token. The
// daemon serves it as JSON at /status.
type Status struct {
	Schema  int            `json:"schema"`
	Ready   bool           `json:"ready"`
	Version string         `json:"version"`
	Sources []SourceStatus `json:"sources"`
}

// A SourceStatus is the part of a [Status] for one source.
type SourceStatus struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`     // "file" (or directory), "env file" or "env"; for keys "key file" (or directory), "jwks url", "discovery" or "kubernetes"
	Location   string `json:"location"` // the path, the URL in use or the name of the variable
	Ready      bool   `json:"ready"`
	Generation uint64 `json:"generation"` // changes of the accepted tokens or keys since the start
	Rotations  uint64 `json:"rotations"`  // changes of the current token since the start

	WatchMode         string    `json:"watch_mode"`
	LastReloadGood    bool      `json:"last_reload_successful"`
	LastReloadSuccess time.Time `json:"last_reload_success,omitzero"`
	LastChange        time.Time `json:"last_change,omitzero"`
	Error             string    `json:"fault,omitempty"` // of the last read, with its fix; "" if it succeeded
	// Limits lists, for people, what keeps the source from changing in a running
	// process, and warnings about its content.
	Limits []string `json:"limits,omitempty"`
	// StateFile is the path of the state file; "" if there is none. StateError is the
	// error of its last read or write, with its fix; "" if it succeeded.
	StateFile  string `json:"state_file,omitempty"`
	StateError string `json:"state_fault,omitempty"`

	Tokens  []TokenStatus `json:"tokens"`  // the accepted tokens or keys
	Revoked int           `json:"revoked"` // number of revoked digests
	// RevokedDeclared lists the fingerprints of revoked tokens or keys that the source
	// declares without their revocation. The Agent refuses them; see Unrevoke.
	RevokedDeclared  []string       `json:"revoked_declared,omitempty"`
	OverlapExpires   time.Time      `json:"overlap_expires,omitzero"`
	PreviousLastUsed time.Time      `json:"previous_last_used,omitzero"`
	PreviousUsers    []PreviousUser `json:"previous_users,omitempty"` // latest first, at most 100
}

// A TokenStatus describes a token or verification key that is accepted now.
type TokenStatus struct {
	// Client is the client that the token belongs to; "" for the unnamed client and for
	// keys.
	Client      string    `json:"client,omitempty"`
	Slot        string    `json:"slot"`
	Fingerprint string    `json:"fingerprint"`
	Declared    bool      `json:"declared"`          // false if the source no longer declares the token and its overlap lasts
	Since       time.Time `json:"since,omitzero"`    // since when this process has seen the token in its slot
	Deadline    time.Time `json:"deadline,omitzero"` // when the token will be refused, unless a use extends the overlap; zero for never
	Cap         time.Time `json:"cap,omitzero"`      // the latest Deadline that uses can lead to; zero if uses do not move it
	Waiting     bool      `json:"waiting,omitempty"` // the overlap begins at the first use of the new token
	// LastUsed is when the token was last accepted in slot previous, to within a second.
	// For a named client it is when any of its tokens in the slot was, to within a poll
	// interval; a use before a restart is rounded down to the hour. It is zero for other tokens.
	LastUsed time.Time `json:"last_used,omitzero"`
	// Uses is how often the tokens of a named client in the slot were accepted since the
	// start. It is 0 for the unnamed client.
	Uses    uint64    `json:"uses,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // the exp of a token that is a JWT; zero if there is none

	// KeyID and Algorithm are set for verification keys. A key with several names is
	// listed once for each.
	KeyID     string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
}

// A PreviousUser is a host that has used a superseded token or key.
type PreviousUser struct {
	// Client is the client that the token belongs to; "" for the unnamed client and for
	// keys.
	Client      string    `json:"client,omitempty"`
	Host        string    `json:"host"`
	Fingerprint string    `json:"fingerprint"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"` // accurate to a second
}

// Status returns the state of the Agent. It reads memory only.
func (a *Agent) Status() Status {
	now := time.Now()
	s := Status{Schema: StatusSchema, Ready: a.Ready(), Version: buildinfo.Version()}
	for _, src := range a.sources {
		out := src.status(now)
		if a.store != nil {
			out.StateFile, out.StateError = a.cfg.StateFile, a.store.errorText()
		}
		s.Sources = append(s.Sources, out)
	}
	return s
}

func (src *source[V, S]) status(now time.Time) SourceStatus {
	s, stats := src.value.Load(), src.value.Stats()
	live := src.accepted(s, now)
	src.clients.sample(now)
	out := SourceStatus{
		Name: src.spec.name, Kind: src.spec.kind, Location: src.spec.shown(), Ready: src.isReady(),
		Generation: s.ledger.Number, Rotations: s.rotations, WatchMode: stats.Mode,
		LastReloadGood: src.lastError(stats) == nil, LastReloadSuccess: utc(stats.LastSuccess), LastChange: utc(stats.LastChange),
		Tokens: make([]TokenStatus, 0, len(live)), OverlapExpires: utc(overlapUntil(live, now)),
		RevokedDeclared: s.revokedDeclared(), PreviousLastUsed: utc(s.previousLastUsed()), PreviousUsers: src.users.list(),
	}
	s.ledger.EachRefused(func(_ rotation.ID, revoked bool) {
		if revoked {
			out.Revoked++
		}
	})
	if err := src.lastError(stats); err != nil {
		out.Error = err.Error()
	}
	for _, e := range live {
		t := TokenStatus{
			Client: e.Client, Slot: e.Slot.String(), Fingerprint: e.Value.Fingerprint(), Declared: e.Declared,
			Since: utc(e.Since), Deadline: utc(e.Deadline(now)), Cap: utc(e.Cap(now)), Waiting: e.Waiting(), Expires: utc(src.expires(e.Value)),
		}
		t.Uses, t.LastUsed = src.clients.of(e.Client, e.Slot)
		if used := e.Use.Last(); e.Slot == rotation.Previous && used.After(t.LastUsed) {
			t.LastUsed = used
		}
		t.LastUsed = utc(t.LastUsed)
		k, isKey := any(e.Value).(jwt.Key)
		if !isKey {
			out.Tokens = append(out.Tokens, t)
			continue
		}
		for _, named := range k.Names() {
			t.KeyID, t.Algorithm = named.KeyID(), named.Algorithm()
			out.Tokens = append(out.Tokens, t)
		}
	}
	if stats.Mode == "static" {
		out.Limits = append(out.Limits, "a process's own environment cannot change from outside; it is read at start and at reload")
	}
	if stats.FixedMount != "" {
		out.Limits = append(out.Limits, stats.FixedMount+" is mounted as a single file (subPath) and never updates; mount its directory")
	}
	out.Limits = append(out.Limits, src.warnings(s, live)...)
	return out
}

// lastError returns the error of the last read or, if there is none, the sideError.
func (src *source[V, S]) lastError(stats reload.Stats) error {
	return cmp.Or(stats.LastError, src.sideError())
}

// warnings returns what people should know about the content of the source. live holds the
// accepted entries of s.
func (src *source[V, S]) warnings(s *state[V, S], live []*rotation.Entry[V]) (out []string) {
	if s.set == nil {
		return nil
	}
	if !src.usable() {
		return []string{"the server has not confirmed the keys for longer than --max-stale (MaxStale): signed tokens are refused as unavailable until it does"}
	}
	if src.reviewer != nil && src.reviewer.Failure() != "" {
		out = append(out, "token reviews fail, so tokens are refused as unavailable: "+src.reviewer.Failure())
	}
	hasCurrent := len(s.ledger.Currents()) > 0
	if !hasCurrent && src.spec.method == verify.MethodToken {
		out = append(out, "the current token is revoked; put a new one into the source")
	}
	if len(live) == 0 {
		out = append(out, "nothing is accepted")
	}
	if set, ok := any(s.set).(*jwt.KeySet); ok && set.Untried() > 0 {
		out = append(out, fmt.Sprintf("%d keys are not tried, because too many have the same algorithm; give keys and tokens a kid", set.Untried()))
	}
	if declared := s.revokedDeclared(); len(declared) > 0 {
		out = append(out, fmt.Sprintf("revoked, and declared without the revocation: %s; refused until the revocation is lifted (tokenagent rotate unrevoke)",
			strings.Join(declared[:min(len(declared), maxNotes)], ", ")))
	}
	out = append(out, s.notes[:min(len(s.notes), maxNotes)]...)
	if lasts := src.longestLifetime(); hasCurrent && lasts > src.spec.window.Overlap {
		out = append(out, fmt.Sprintf("accepted tokens are good for %s, but a superseded key only for %s; lengthen the overlap", lasts, src.spec.window.Overlap))
	}
	return out
}

// revokedDeclared returns the fingerprints of the revoked credentials that the source
// declares without their revocation.
func (s *state[V, S]) revokedDeclared() (fingerprints []string) {
	for i := range s.ledger.RevokedDeclared {
		fingerprints = append(fingerprints, s.ledger.RevokedDeclared[i].Value.Fingerprint())
	}
	return fingerprints
}

// expiryWarning is how long before the exp of a token that is a JWT the Agent logs a
// warning.
const expiryWarning = 24 * time.Hour

// logLatest logs what has changed since the last call, and reports whether anything has.
func (src *source[V, S]) logLatest() bool {
	src.logging.Lock()
	last, latest := src.logged, src.value.Load()
	src.logged = latest
	src.logging.Unlock()
	if last == latest {
		return false
	}
	src.changed()
	src.logChange(last, latest, time.Now())
	return true
}

func (src *source[V, S]) logChange(last, s *state[V, S], now time.Time) {
	if s.set == nil {
		return
	}
	live := src.live(s, now)
	known := src.warnings(last, src.live(last, now))
	for _, warning := range src.warnings(s, live) {
		if !slices.Contains(known, warning) {
			src.log.Warn("source accepted with a warning", "note", warning)
		}
	}
	var count [len(rotation.Slots) + 1]int
	staged := make([]string, 0, maxNotes)
	superseded := make(map[string]bool)
	for _, e := range live {
		count[e.Slot]++
		if exp := src.expires(e.Value); !exp.IsZero() && exp.Before(now.Add(expiryWarning)) {
			src.log.Warn("a token is a JWT whose exp has come or comes within a day; receivers that check exp refuse it then",
				"slot", e.Slot.String(), "fingerprint", e.Value.Fingerprint(), "expires", exp.UTC())
		}
		switch {
		case e.Slot == rotation.Next && len(staged) < maxNotes:
			staged = append(staged, e.Value.Fingerprint())
		case e.Slot == rotation.Previous:
			superseded[e.Value.Label()] = true
		}
	}
	src.users.makeRoom(superseded)
	args := []any{
		"generation", s.ledger.Number, "next", count[rotation.Next], "previous", count[rotation.Previous], "listed", count[rotation.Listed],
	}
	args = append(args, src.overlapArgs(live, now)...)
	if len(staged) > 0 {
		args = append(args, "next_fingerprint", strings.Join(staged, ","))
	}
	switch c := s.ledger.Currents(); {
	case len(c) == 1:
		args = append(args, "fingerprint", c[0].Value.Fingerprint())
	case len(c) > 1:
		args = append(args, "current", len(c))
	}
	switch {
	case !last.loaded:
		src.log.Info("source loaded", args...)
	case s.rotations != last.rotations:
		src.log.Info("rotated", args...)
	default:
		src.log.Info("source changed", args...)
	}
}

// overlapArgs returns log attributes of the overlap: its end if no credential is used
// again, the latest end that uses can extend it to, and which uses extend it.
func (src *source[V, S]) overlapArgs(live []*rotation.Entry[V], now time.Time) []any {
	until := overlapUntil(live, now)
	if until.IsZero() {
		return nil
	}
	latest, slides, waits := until, false, false
	for _, e := range live {
		if limit := e.Cap(now); !limit.IsZero() {
			slides, waits = true, waits || e.Waiting()
			if limit.After(latest) {
				latest = limit
			}
		}
	}
	args := []any{"overlap_until", until.UTC(), "overlap_until_at_most", latest.UTC()}
	if waits {
		args = append(args, "overlap_begins_with", "the first use of the new one")
	}
	if slides {
		args = append(args, "renewed_by", "each use of the old one, for "+src.spec.window.Overlap.String())
	}
	return args
}

// isSecret reports whether e is a token or an HMAC key. Other keys are public.
func isSecret[V credential](e *rotation.Entry[V]) bool {
	key, isKey := any(e.Value).(jwt.Key)
	return !isKey || strings.HasPrefix(key.Algorithm(), "HS")
}

// warnAboutReaders logs a warning for each file of the source that every user of the
// machine may read. Volumes that the kubelet mounts are exempt: their files have mode 0644
// by default, and other users cannot reach the file system of the pod
// (https://kubernetes.io/docs/concepts/storage/volumes/#secret).
func (src *source[V, S]) warnAboutReaders() {
	root := src.spec.location
	holdsSecret := slices.ContainsFunc(src.live(src.value.Load(), time.Now()), isSecret)
	if runtime.GOOS == "windows" || !src.spec.watched || !holdsSecret || kubemount.Managed(root) {
		return
	}
	paths := []string{root}
	if info, err := os.Stat(root); err == nil && info.IsDir() {
		paths = nil
		for _, pattern := range src.spec.secretFiles {
			names, _ := fs.Glob(os.DirFS(root), pattern) // the patterns are well formed
			for _, name := range names {
				paths = append(paths, filepath.Join(root, name))
			}
		}
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
			src.log.Warn("every user of this machine can read the secret in this file; take the right away (chmod o-r), and rotate what it holds if others have accounts here",
				"file", path, "mode", info.Mode().Perm().String())
		}
	}
}

// overlapUntil returns the latest deadline of entries, and the zero Time if none has a
// deadline.
func overlapUntil[V any](entries []*rotation.Entry[V], now time.Time) time.Time {
	var until time.Time
	for _, e := range entries {
		if d := e.Deadline(now); d.After(until) {
			until = d
		}
	}
	return until
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Round(0)
}
