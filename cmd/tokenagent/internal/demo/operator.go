package demo

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An operator does to the Secret what people do, through a mount that is
// swapped as the kubelet swaps it.
type operator struct {
	world *world
	agent *agent.Agent
	mount string
	step  time.Duration
	tell  func(format string, args ...any)

	current, previous int
	secret            map[string][]byte
}

// layOut makes the mount with its first token.
func (o *operator) layOut() error {
	if err := os.Mkdir(o.mount, 0o700); err != nil {
		return err
	}
	o.current = o.world.introduce()
	o.secret = map[string][]byte{token.FileCurrent: []byte(o.world.text(o.current))}
	return kubemount.Write(o.mount, o.secret, 0o400)
}

// work performs the script.
func (o *operator) work(ctx context.Context) error {
	o.tell("the Secret holds %s; senders start", o.world.fingerprint(o.current))
	for _, act := range []func(context.Context) error{o.rotate, o.stageAndPromote, o.rotate, o.stageAndPromote, o.rotate, o.leak, o.rest} {
		if err := pause(ctx, o.step); err != nil {
			return err
		}
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rotate replaces the token, without further ado.
func (o *operator) rotate(ctx context.Context) error {
	return o.promote(ctx, o.world.introduce())
}

// stageAndPromote lets every receiver know the new token before anybody sends it.
func (o *operator) stageAndPromote(ctx context.Context) error {
	n := o.world.introduce()
	o.secret[token.FileNext] = []byte(o.world.text(n))
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return has(s, "next", o.world.fingerprint(n)) })
	if err != nil {
		return err
	}
	o.world.stage(n, time.Now())
	o.tell("staged %s as next, accepted after %s", o.world.fingerprint(n), took)
	if err := pause(ctx, o.step/2); err != nil {
		return err
	}
	delete(o.secret, token.FileNext)
	return o.promote(ctx, n)
}

// promote makes token n the current one.
func (o *operator) promote(ctx context.Context, n int) error {
	o.secret[token.FileCurrent] = []byte(o.world.text(n))
	// Before the fact: on a machine that stalls, the deadline may overtake us.
	o.world.loosen(o.current, time.Now().Add(o.world.overlap))
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return has(s, "current", o.world.fingerprint(n)) })
	if err != nil {
		return err
	}
	seen := time.Now()
	o.previous, o.current = o.current, n
	o.world.refuse(o.previous, seen.Add(o.world.overlap))
	o.world.accept(n, seen)
	o.tell("rotated to %s, accepted after %s; %s is good for another %s",
		o.world.fingerprint(n), took, o.world.fingerprint(o.previous), o.world.overlap)
	return nil
}

// leak rotates because the token got out, and revokes that one.
func (o *operator) leak(ctx context.Context) error {
	leaked := o.current
	if err := o.rotate(ctx); err != nil {
		return err
	}
	o.secret[token.FileRevoked] = fmt.Appendf(nil, "%x\n", verify.Digest(o.world.text(leaked)))
	o.world.loosen(leaked, time.Now()) // before the fact: an answer may overtake us
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return s.Revoked > 0 })
	if err != nil {
		return err
	}
	o.world.refuse(leaked, time.Now())
	o.tell("revoked %s, which leaked: refused after %s, overlap or not", o.world.fingerprint(leaked), took)
	return nil
}

func (o *operator) rest(context.Context) error {
	o.tell("the last overlap is over")
	return nil
}

// swap puts the Secret into the mount and waits until the agent has published
// what done looks for.
func (o *operator) swap(ctx context.Context, done func(agent.SourceStatus) bool) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	begun := time.Now()
	if err := kubemount.Write(o.mount, o.secret, 0o400); err != nil {
		return 0, err
	}
	for {
		changed := o.agent.Updated()
		if done(o.agent.Status().Sources[0]) {
			return time.Since(begun).Round(10 * time.Microsecond), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("the agent did not take over the Secret: %w", ctx.Err())
		}
	}
}

func has(s agent.SourceStatus, slot, fingerprint string) bool {
	for _, t := range s.Tokens {
		if t.Slot == slot && t.Fingerprint == fingerprint {
			return true
		}
	}
	return false
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
