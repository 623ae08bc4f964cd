package agent

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// expiryWarning is how long before the exp of a token that is a JWT the Agent logs a
// warning.
const expiryWarning = 24 * time.Hour

// logChanges logs every change of the source and calls changed after each, until ctx
// ends.
func (src *source[V, S]) logChanges(ctx context.Context, changed func()) {
	last := emptyState[V, S]()
	for {
		updated := src.value.Updated()
		if s := src.value.Load(); s != nil && s != last {
			src.logChange(last, s, time.Now())
			last = s
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-updated:
		}
	}
}

func (src *source[V, S]) logChange(last, s *state[V, S], now time.Time) {
	if !s.loaded {
		return
	}
	live := s.live(now)
	known := src.warnings(last, last.live(now))
	for _, warning := range src.warnings(s, live) {
		if !slices.Contains(known, warning) {
			src.log.Warn("source accepted with a warning", "note", warning)
		}
	}
	if slices.ContainsFunc(live, isSecret) {
		src.warnAboutReaders()
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
	if c, ok := s.ledger.Current(); ok {
		args = append(args, "fingerprint", c.Value.Fingerprint())
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
	if runtime.GOOS == "windows" || !src.spec.watched || kubemount.Managed(root) {
		return
	}
	paths := []string{root}
	if info, err := os.Stat(root); err == nil && info.IsDir() {
		paths = nil
		for _, name := range src.spec.secretFiles {
			paths = append(paths, filepath.Join(root, name))
		}
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
			src.log.Warn("every user of this machine can read the secret in this file; take the right away (chmod o-r), and rotate what it holds if others have accounts here",
				"file", path, "mode", info.Mode().Perm().String())
		}
	}
}

// warnAboutSDKs logs a warning if APP_API_TOKEN is set in the environment but is not
// the token source. Dapr SDKs read the variable once and check the token themselves
// (https://docs.dapr.io/operations/security/app-api-token/), so they refuse the new
// token after a rotation.
func (r *resolved) warnAboutSDKs() {
	isSource := r.tokens != nil && r.tokens.kind == "env" && r.tokens.location == DaprTokenEnv
	if os.Getenv(DaprTokenEnv) == "" || isSource {
		return
	}
	r.Logger.Warn(DaprTokenEnv+" is set in the environment and is not the source; a Dapr SDK in the app reads it once"+
		" and checks the token again, so it refuses the new one after a rotation; unset it in the app's environment",
		"variable", DaprTokenEnv)
}
