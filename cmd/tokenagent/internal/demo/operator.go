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

// An operator rotates the Secret in a mount, and records each change in the account.
type operator struct {
	account *account
	agent   *agent.Agent
	mount   string
	step    time.Duration
	once    *readOnce
	screen  *screen

	current *demoToken
	secret  map[string][]byte
}

// createMount creates the mount with its first token.
func (o *operator) createMount() error {
	if err := os.Mkdir(o.mount, 0o700); err != nil {
		return err
	}
	o.current = o.account.newToken()
	o.secret = map[string][]byte{token.FileCurrent: []byte(o.current.text)}
	return kubemount.Write(o.mount, o.secret, 0o400)
}

// work makes the changes, with a step before the first and after each one. In the first
// third of the step after a change, the server that reads its token once has not been
// restarted yet.
func (o *operator) work(ctx context.Context, changes []change) error {
	o.screen.line("The Secret holds token %s. Senders start.", o.current.fingerprint())
	if err := o.screen.wait(ctx, o.step); err != nil {
		return err
	}
	for _, change := range changes {
		if err := change(o, ctx); err != nil {
			return err
		}
		if err := o.screen.wait(ctx, o.step/3); err != nil {
			return err
		}
		if err := o.once.restart(); err != nil {
			return err
		}
		if err := o.screen.wait(ctx, o.step*2/3); err != nil {
			return err
		}
		o.screen.score(o.account.wrong())
	}
	return nil
}

// A change changes the Secret.
type change func(o *operator, ctx context.Context) error

// rotate replaces the token without staging the new one.
func (o *operator) rotate(ctx context.Context) error { return o.promote(ctx, o.account.newToken()) }

// stageAndPromote stages the new token, so that the receivers know it before it is current.
func (o *operator) stageAndPromote(ctx context.Context) error {
	t := o.account.newToken()
	o.secret[token.FileNext] = []byte(t.text)
	took, err := o.swap(ctx, shows("next", t))
	if err != nil {
		return err
	}
	o.account.accept(t, false)
	o.screen.line("%s is staged as the next one. The agent accepts it after %s.", t.fingerprint(), took)
	if err := o.screen.wait(ctx, o.step/2); err != nil {
		return err
	}
	delete(o.secret, token.FileNext)
	return o.promote(ctx, t)
}

// promote makes t the current token.
func (o *operator) promote(ctx context.Context, t *demoToken) error {
	old, overlap := o.current, o.account.overlap
	o.secret[token.FileCurrent] = []byte(t.text)
	// Before the swap: the agent may begin the overlap before swap returns.
	o.account.mayRefuse(old, time.Now().Add(overlap))
	took, err := o.swap(ctx, shows("current", t))
	if err != nil {
		return err
	}
	o.current = t
	o.account.mustRefuse(old, time.Now().Add(overlap))
	o.account.accept(t, true)
	o.screen.line("%s replaces %s. The agent accepts it after %s.", t.fingerprint(), old.fingerprint(), took)
	o.screen.overlap(old.fingerprint(), overlap)
	return nil
}

// leak rotates because the current token leaked, and revokes the leaked token.
func (o *operator) leak(ctx context.Context) error {
	leaked := o.current
	if err := o.rotate(ctx); err != nil {
		return err
	}
	o.secret[token.FileRevoked] = fmt.Appendf(nil, "%x\n", verify.Digest(leaked.text))
	o.account.mayRefuse(leaked, time.Now()) // before the swap, as in promote
	took, err := o.swap(ctx, func(s agent.SourceStatus) bool { return s.Revoked > 0 })
	if err != nil {
		return err
	}
	o.account.mustRefuse(leaked, time.Now())
	o.screen.line("%s leaked and is revoked. The agent refuses it after %s.", leaked.fingerprint(), took)
	o.screen.overlap("", 0)
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
			return time.Since(began).Round(100 * time.Microsecond), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("the agent did not publish the change of the Secret: %w", ctx.Err())
		}
	}
}

// shows returns a function that reports whether a status shows t in a slot.
func shows(slot string, t *demoToken) func(agent.SourceStatus) bool {
	fingerprint := t.fingerprint()
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
