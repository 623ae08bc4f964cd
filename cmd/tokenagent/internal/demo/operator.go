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

// An operator rotates the Secret in a mount, and tells the account what it did.
type operator struct {
	account *account
	agent   *agent.Agent
	mount   string
	step    time.Duration
	report  func(format string, args ...any)

	current int // the number of the current token
	secret  map[string][]byte
}

// createMount creates the mount with its first token.
func (o *operator) createMount() error {
	if err := os.Mkdir(o.mount, 0o700); err != nil {
		return err
	}
	o.current = o.account.newToken()
	o.secret = map[string][]byte{token.FileCurrent: []byte(o.account.text(o.current))}
	return kubemount.Write(o.mount, o.secret, 0o400)
}

// work performs the script.
func (o *operator) work(ctx context.Context) error {
	o.report("the Secret holds %s; senders start", o.account.fingerprint(o.current))
	for _, change := range []func(context.Context) error{o.rotate, o.stageAndPromote, o.rotate, o.stageAndPromote, o.rotate, o.leak} {
		if err := pause(ctx, o.step); err != nil {
			return err
		}
		if err := change(ctx); err != nil {
			return err
		}
	}
	if err := pause(ctx, o.step); err != nil {
		return err
	}
	o.report("the last overlap is over")
	return nil
}

// rotate replaces the token without staging the new one.
func (o *operator) rotate(ctx context.Context) error { return o.promote(ctx, o.account.newToken()) }

// stageAndPromote stages the new token, so that the receivers know it before it is current.
func (o *operator) stageAndPromote(ctx context.Context) error {
	n := o.account.newToken()
	o.secret[token.FileNext] = []byte(o.account.text(n))
	took, err := o.swap(ctx, o.shows("next", n))
	if err != nil {
		return err
	}
	o.account.accept(n, time.Now(), false)
	o.report("staged %s as next, accepted after %s", o.account.fingerprint(n), took)
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
	// Before the swap: the agent may begin the overlap before swap returns.
	o.account.end(old, time.Now().Add(overlap), time.Time{})
	took, err := o.swap(ctx, o.shows("current", n))
	if err != nil {
		return err
	}
	now := time.Now()
	o.current = n
	o.account.end(old, time.Time{}, now.Add(overlap))
	o.account.accept(n, now, true)
	o.report("rotated to %s, accepted after %s; %s is good for another %s",
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
	o.account.end(leaked, time.Now(), time.Time{}) // before the swap, as in promote
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return s.Revoked > 0 })
	if err != nil {
		return err
	}
	o.account.end(leaked, time.Time{}, time.Now())
	o.report("revoked %s, which leaked: refused after %s, overlap or not", o.account.fingerprint(leaked), took)
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
			return 0, fmt.Errorf("the agent did not publish the change of the Secret: %w", ctx.Err())
		}
	}
}

// shows returns a function that reports whether a status shows token n in a slot.
func (o *operator) shows(slot string, n int) func(agent.SourceStatus) bool {
	fingerprint := o.account.fingerprint(n)
	return func(s agent.SourceStatus) bool {
		return slices.ContainsFunc(s.Tokens, func(t agent.TokenStatus) bool { return t.Slot == slot && t.Fingerprint == fingerprint })
	}
}

// pause waits for d. It fails if ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
