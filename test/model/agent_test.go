package model

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A service is a receiver that runs a real agent, with a token file and a state
// file.
type service struct {
	agent *agent.Agent // nil while it is down
	cfg   agent.Config
}

func newService(folder string, w rotation.Window) *service {
	return &service{cfg: agent.Config{
		TokenFile: filepath.Join(folder, "token"), StateFile: filepath.Join(folder, "state", "tokens"),
		Overlap: w.Overlap, MaxOverlap: cmp.Or(w.MaxOverlap, -1), // 0 would be the agent's default, a sliding window
		// The agent reads only when the model calls Reload.
		PollOnly: true, Poll: 24 * time.Hour, Logger: slog.New(slog.DiscardHandler),
	}}
}

func (s *service) see(v *version, base time.Time, skew time.Duration) error {
	_, file := v.written(base, skew)
	if err := os.WriteFile(s.cfg.TokenFile+".new", file, 0o600); err != nil {
		return err
	}
	if err := os.Rename(s.cfg.TokenFile+".new", s.cfg.TokenFile); err != nil {
		return err
	}
	if s.agent == nil {
		var err error
		s.agent, err = agent.Start(context.Background(), s.cfg)
		return err
	}
	_, err := s.agent.Reload()
	return err
}

func (s *service) stop() error {
	if s.agent == nil {
		return nil
	}
	err := s.agent.Close()
	s.agent = nil
	return err
}

func (s *service) forget() error {
	if err := os.Remove(s.cfg.StateFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *service) present(k token) answer {
	who, err := s.agent.Verify(context.Background(), k.text())
	if err != nil {
		return answer{class: verify.Class(err)}
	}
	return answer{slot: who.Slot()}
}

// TestP8_Agents runs real agents with real files through small random worlds. The
// code that joins the ledger with the verifier, and the state store, must not
// change any answer of the model.
func TestP8_Agents(t *testing.T) {
	t.Parallel()
	histories := 40
	if testing.Short() {
		histories = 10
	}
	b := fleet()
	for name, x := range trials() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				for seed := range uint64(histories) {
					s := size{receivers: 1, senders: 2, rotations: 2}
					c := s.conditions(rand.New(rand.NewPCG(seed, 2)), x.protocol, b, x.ways)
					receiver := newService(folder, x.protocol.window)
					w := x.protocol.world(c, b)
					v, _, err := w.runOn([]*service{receiver})
					if err := errors.Join(err, receiver.stop(), receiver.forget()); err != nil {
						t.Fatal(err)
					}
					if v != nil {
						t.Fatalf("seed %d:\n%s", seed, w.timeline(v))
					}
				}
			})
		})
	}
}
