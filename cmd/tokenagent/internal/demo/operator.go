package demo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An operator changes the Secret as people do, through a mount that is swapped as the
// kubelet swaps it.
type operator struct {
	account *account
	agent   *agent.Agent
	mount   string
	step    time.Duration
	tell    func(format string, args ...any)

	current int // the number of the current token
	secret  map[string][]byte
}

// layOut makes the mount with its first token.
func (o *operator) layOut() error {
	if err := os.Mkdir(o.mount, 0o700); err != nil {
		return err
	}
	o.current = o.account.newToken()
	o.secret = map[string][]byte{token.FileCurrent: []byte(o.account.text(o.current))}
	return kubemount.Write(o.mount, o.secret, 0o400)
}

// work performs the script.
func (o *operator) work(ctx context.Context) error {
	o.tell("the Secret holds %s; senders start", o.account.fingerprint(o.current))
	for _, act := range []func(context.Context) error{o.rotate, o.stageAndPromote, o.rotate, o.stageAndPromote, o.rotate, o.leak} {
		if err := pause(ctx, o.step); err != nil {
			return err
		}
		if err := act(ctx); err != nil {
			return err
		}
	}
	if err := pause(ctx, o.step); err != nil {
		return err
	}
	o.tell("the last overlap is over")
	return nil
}

// rotate replaces the token without staging the new one.
func (o *operator) rotate(ctx context.Context) error { return o.promote(ctx, o.account.newToken()) }

// stageAndPromote lets every receiver know the new token before anybody sends it.
func (o *operator) stageAndPromote(ctx context.Context) error {
	n := o.account.newToken()
	o.secret[token.FileNext] = []byte(o.account.text(n))
	took, err := o.swap(ctx, o.shows("next", n))
	if err != nil {
		return err
	}
	o.account.accept(n, time.Now(), false)
	o.tell("staged %s as next, accepted after %s", o.account.fingerprint(n), took)
	if err := pause(ctx, o.step/2); err != nil {
		return err
	}
	delete(o.secret, token.FileNext)
	return o.promote(ctx, n)
}

// promote makes token n the current one.
func (o *operator) promote(ctx context.Context, n int) error {
	old, overlap := o.current, o.account.overlap
	o.secret[token.FileCurrent] = []byte(o.account.text(n))
	// Before the swap: on a machine that stalls, the deadline may pass before we go on.
	o.account.end(old, time.Now().Add(overlap), time.Time{})
	took, err := o.swap(ctx, o.shows("current", n))
	if err != nil {
		return err
	}
	now := time.Now()
	o.current = n
	o.account.end(old, time.Time{}, now.Add(overlap))
	o.account.accept(n, now, true)
	o.tell("rotated to %s, accepted after %s; %s is good for another %s",
		o.account.fingerprint(n), took, o.account.fingerprint(old), overlap)
	return nil
}

// leak rotates because the current token leaked, and revokes that one.
func (o *operator) leak(ctx context.Context) error {
	leaked := o.current
	if err := o.rotate(ctx); err != nil {
		return err
	}
	o.secret[token.FileRevoked] = fmt.Appendf(nil, "%x\n", verify.Digest(o.account.text(leaked)))
	o.account.end(leaked, time.Now(), time.Time{}) // before the swap: it may be refused before we go on
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return s.Revoked > 0 })
	if err != nil {
		return err
	}
	o.account.end(leaked, time.Time{}, time.Now())
	o.tell("revoked %s, which leaked: refused after %s, overlap or not", o.account.fingerprint(leaked), took)
	return nil
}

// swap puts the Secret into the mount and waits until the agent has published it.
func (o *operator) swap(ctx context.Context, published func(agent.SourceStatus) bool) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	if err := kubemount.Write(o.mount, o.secret, 0o400); err != nil {
		return 0, err
	}
	for {
		changed := o.agent.Updated()
		if published(o.agent.Status().Sources[0]) {
			return time.Since(began).Round(10 * time.Microsecond), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("the agent did not take over the Secret: %w", ctx.Err())
		}
	}
}

// shows returns whether a status shows token n in a slot.
func (o *operator) shows(slot string, n int) func(agent.SourceStatus) bool {
	fingerprint := o.account.fingerprint(n)
	return func(s agent.SourceStatus) bool {
		return slices.ContainsFunc(s.Tokens, func(t agent.TokenStatus) bool { return t.Slot == slot && t.Fingerprint == fingerprint })
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
