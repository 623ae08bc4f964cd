package verify

import (
	"context"
	"errors"
	"strings"

	"github.com/tokenagent/tokenagent/internal/hold"
)

// Any returns a Verifier that asks vs in order and returns the first Principal. If all of
// vs refuse the token, Any returns the error of the class that says most: revoked,
// expired, unavailable, invalid, missing, in this order. A nil Principal without an error
// counts as ErrUnavailable. If vs is empty, the Verifier refuses every token with
// ErrUnavailable.
//
// The Verifier is also a [PreviousUseRecorder], which passes each use to every recorder
// among vs. It is a [RevocationWaiter] if any of vs is one. Any copies vs, and the
// Verifier is safe for concurrent use.
func Any(vs ...Verifier) Verifier {
	all := anyOf(append([]Verifier(nil), vs...))
	var waiters []RevocationWaiter
	for _, v := range vs {
		if w, ok := v.(RevocationWaiter); ok {
			waiters = append(waiters, w)
		}
	}
	if len(waiters) > 0 {
		return &waitingAny{all, waiters}
	}
	return all
}

// A waitingAny is an anyOf that implements RevocationWaiter. It is a separate type, so
// that an anyOf without waiters does not implement the interface.
type waitingAny struct {
	anyOf
	waiters []RevocationWaiter
}

// AwaitRevocation asks all waiters at the same time, because several waiters may have
// sources of the same name.
func (a *waitingAny) AwaitRevocation(ctx context.Context, p *Principal) bool {
	if len(a.waiters) == 1 {
		return a.waiters[0].AwaitRevocation(ctx, p)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan bool, len(a.waiters))
	for _, w := range a.waiters {
		go func() { answers <- w.AwaitRevocation(ctx, p) }()
	}
	for range a.waiters {
		if <-answers {
			return true
		}
	}
	return false
}

type anyOf []Verifier

func (a anyOf) Verify(ctx context.Context, token string) (*Principal, error) {
	var worst error
	noDelay := ctx
	if len(a) > 1 && strings.Count(token, ".") == 2 {
		// A Verifier may delay the refusal of a token that looks like a JWT. Only the last
		// one may do so here. Other tokens need no copy of ctx.
		noDelay = hold.Off(ctx)
	}
	for i, v := range a {
		vctx := noDelay
		if i == len(a)-1 {
			vctx = ctx
		}
		p, err := v.Verify(vctx, token)
		if err == nil && p != nil {
			return p, nil
		}
		if err == nil { // a nil Principal without an error is a refusal
			err = ErrUnavailable
		}
		if worst == nil || Class(err) > Class(worst) {
			worst = err
		}
	}
	if worst == nil {
		worst = ErrUnavailable
	}
	return nil, worst
}

// RecordPreviousUse passes the use to every recorder. Those that did not return p ignore
// it.
func (a anyOf) RecordPreviousUse(p *Principal, remote string) {
	for _, v := range a {
		if r, ok := v.(PreviousUseRecorder); ok {
			r.RecordPreviousUse(p, remote)
		}
	}
}

// A RefusalClass is the class of a refusal. A class that says more about the token is
// greater. The zero RefusalClass is Missing.
type RefusalClass uint8

// The classes of refusal, one for each error of this package.
const (
	Missing     RefusalClass = iota // ErrNoToken
	Invalid                         // ErrInvalidToken
	Unavailable                     // ErrUnavailable, and any error that wraps none of the five
	Expired                         // ErrExpiredToken
	Revoked                         // ErrRevokedToken
)

// Class returns the class of err, the error of a Verifier. If err wraps several errors
// of this package, the first of ErrRevokedToken, ErrExpiredToken, ErrInvalidToken and
// ErrNoToken decides. If err wraps none of these four, Class returns Unavailable, because
// the Verifier did not judge the token. Class must not be called with a nil error.
func Class(err error) RefusalClass {
	// The common case: err is one of the errors itself, so errors.Is need not unwrap it.
	switch err {
	case ErrNoToken: //nolint:errorlint // errors.Is follows below
		return Missing
	case ErrInvalidToken:
		return Invalid
	case ErrExpiredToken:
		return Expired
	case ErrRevokedToken:
		return Revoked
	case ErrUnavailable:
		return Unavailable
	}
	switch {
	case errors.Is(err, ErrRevokedToken):
		return Revoked
	case errors.Is(err, ErrExpiredToken):
		return Expired
	case errors.Is(err, ErrInvalidToken):
		return Invalid
	case errors.Is(err, ErrNoToken):
		return Missing
	default:
		return Unavailable
	}
}

// String returns the name of the class in metrics, such as "revoked". It returns "" for
// an unknown class.
func (c RefusalClass) String() string {
	names := [...]string{Missing: "missing", Invalid: "invalid", Unavailable: "unavailable", Expired: "expired", Revoked: "revoked"}
	if int(c) >= len(names) {
		return ""
	}
	return names[c]
}
