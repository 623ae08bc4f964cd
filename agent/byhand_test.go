package agent_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP3_RevokedByHandBeforeTheIssuerIsAdded: what Revoke revoked stays refused by an issuer
// that is added later, or removed and added again, through Snapshots and through the state
// file. Unrevoke lifts it everywhere.
func TestP3_RevokedByHandBeforeTheIssuerIsAdded(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	issuerA, issuerB := keysAt("a", issA, file(t, a.public)), keysAt("b", issB, file(t, b.public))
	ofB := b.signFor(t, issB, "")
	id := verify.SigningInputDigest(ofB)
	both, onlyA := []agent.Issuer{issuerA, issuerB}, []agent.Issuer{issuerA}
	for name, first := range map[string][]agent.Issuer{"added later": onlyA, "removed and added again": both} {
		for way, next := range map[string]func(t *testing.T, old *agent.Agent, cfg agent.Config) *agent.Agent{
			"snapshot": func(t *testing.T, old *agent.Agent, cfg agent.Config) *agent.Agent {
				t.Helper()
				from := old.Snapshot()
				cfg.From, cfg.StateFile = &from, ""
				ag := start(t, cfg)
				if err := ag.Merge(old.Snapshot()); err != nil {
					t.Fatal(err)
				}
				return ag
			},
			"revoked after the snapshot": func(t *testing.T, old *agent.Agent, cfg agent.Config) *agent.Agent {
				t.Helper()
				if err := old.Unrevoke(id); err != nil {
					t.Fatal(err)
				}
				from := old.Snapshot()
				cfg.From, cfg.StateFile = &from, ""
				ag := start(t, cfg)
				if err := old.Revoke(id); err != nil {
					t.Fatal(err)
				}
				if err := ag.Merge(old.Snapshot()); err != nil {
					t.Fatal(err)
				}
				return ag
			},
			"state file": func(t *testing.T, old *agent.Agent, cfg agent.Config) *agent.Agent {
				t.Helper()
				if err := old.Close(); err != nil {
					t.Fatal(err)
				}
				return start(t, cfg)
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				cfg := withIssuers(first...)
				cfg.StateFile = stateFile(t)
				ag := start(t, cfg)
				if err := ag.Revoke(id); err != nil {
					t.Fatal(err)
				}
				for _, issuers := range [][]agent.Issuer{onlyA, {issuerB}, both, onlyA, both} {
					if way == "state file" && issuers[0].Name == "b" {
						continue // the file belongs to the other issuer
					}
					cfg.Issuers = issuers
					ag = next(t, ag, cfg)
					if len(issuers) == 2 {
						wantClass(t, ag, "the token revoked by hand", ofB, "revoked")
					}
				}
				if err := ag.Unrevoke(id); err != nil {
					t.Fatal(err)
				}
				wantClass(t, ag, "after Unrevoke", ofB, "ok")
				if way == "revoked after the snapshot" {
					return // it revokes again
				}
				for _, issuers := range [][]agent.Issuer{onlyA, both} {
					cfg.Issuers = issuers
					ag = next(t, ag, cfg)
				}
				wantClass(t, ag, "after Unrevoke, removed and added again", ofB, "ok")
			})
		}
	}
}

// TestP3_UnrevokeAfterCloseLiftsNothing: a closed Agent keeps what was revoked by hand, also for
// issuers that are added later.
func TestP3_UnrevokeAfterCloseLiftsNothing(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	issuerA, issuerB := keysAt("a", issA, file(t, a.public)), keysAt("b", issB, file(t, b.public))
	ofB := b.signFor(t, issB, "")
	old := start(t, withIssuers(issuerA))
	if err := old.Revoke(verify.SigningInputDigest(ofB)); err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	if err := old.Unrevoke(verify.SigningInputDigest(ofB)); !errors.Is(err, agent.ErrClosed) {
		t.Fatalf("%v, want ErrClosed", err)
	}
	from := old.Snapshot()
	cfg := withIssuers(issuerA, issuerB)
	cfg.From = &from
	wantClass(t, start(t, cfg), "what a closed Agent was asked to unrevoke", ofB, "revoked")
}

// TestP3_RevokeWhileUnrevoking: after calls of Revoke and Unrevoke at the same time, an issuer
// that is added later refuses what the others refuse.
func TestP3_RevokeWhileUnrevoking(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	issuerA, issuerB := keysAt("a", issA, file(t, a.public)), keysAt("b", issB, file(t, b.public))
	old := start(t, withIssuers(issuerA))
	var running sync.WaitGroup
	for i := range 500 {
		id := verify.Digest(tokenN(i))
		running.Go(func() { _ = old.Revoke(id) })
		running.Go(func() { _ = old.Unrevoke(id) })
	}
	running.Wait()
	from := old.Snapshot()
	cfg := withIssuers(issuerA, issuerB)
	cfg.From = &from
	if s := start(t, cfg).Status().Sources; s[0].Revoked != s[1].Revoked {
		t.Errorf("%d are revoked at the issuer that was there, and %d at the one that was added", s[0].Revoked, s[1].Revoked)
	}
}

// TestRevokedBySourceIsNotByHand: what Unrevoke lifted, and the source of one issuer revokes
// later, is no revocation by hand for the others.
func TestRevokedBySourceIsNotByHand(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	ofB, dir := b.signFor(t, issB, ""), t.TempDir()
	id := verify.SigningInputDigest(ofB)
	replace(t, filepath.Join(dir, "key"), a.public)
	issuerA, issuerB := keysAt("a", issA, dir), keysAt("b", issB, file(t, b.public))
	old := start(t, withIssuers(issuerA))
	if err := errors.Join(old.Revoke(id), old.Unrevoke(id)); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "revoked"), fmt.Sprintf("%x", id))
	reloaded(t, old)
	from := old.Snapshot()
	cfg := withIssuers(issuerA, issuerB)
	cfg.From = &from
	wantClass(t, start(t, cfg), "what only the source of A revokes", ofB, "ok")
}
