package verify

import (
	"context"
	"errors"
)

// Any returns a Verifier that accepts what the first of vs to accept it
// accepts. A refusal is that of the class that says most: revoked, expired,
// unavailable, invalid, missing, in this order. Any of nothing refuses
// everything with ErrUnavailable.
//
// If some of vs want to know who uses superseded tokens, each is told of the
// uses of its own: those of which it is the source, see [PreviousUseRecorder].
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

// A waitingAny is an anyOf some of which are RevocationWaiters: one without them
// must not look as if it were one.
type waitingAny struct {
	anyOf
	waiters []RevocationWaiter
}

// AwaitRevocation asks all at once, since several may share the name of a source.
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
	for _, v := range a {
		p, err := v.Verify(ctx, token)
		if err == nil && p != nil {
			return p, nil
		}
		if err == nil { // neither yes nor no is no
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

// RecordPreviousUse passes the use on to all; a recorder ignores a Principal
// that is not its own.
func (a anyOf) RecordPreviousUse(p *Principal, remote string) {
	for _, v := range a {
		if r, ok := v.(PreviousUseRecorder); ok {
			r.RecordPreviousUse(p, remote)
		}
	}
}

// A RefusalClass is the class of a refusal, ordered by how much it says.
type RefusalClass uint8

// The classes of refusal, each that of the sentinel of the same name.
const (
	Missing     RefusalClass = iota // ErrNoToken
	Invalid                         // ErrInvalidToken
	Unavailable                     // ErrUnavailable, and any error that is none of the five
	Expired                         // ErrExpiredToken
	Revoked                         // ErrRevokedToken
)

// Class returns the class of the error err of a Verifier, which must not be
// nil. An error of no known class is Unavailable: something failed, and
// nothing was found wrong with the token.
func Class(err error) RefusalClass {
	// The sentinels themselves first: errors.Is walks.
	switch err {
	case ErrNoToken: //nolint:errorlint // the walk follows
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

// String returns the class as metrics name it.
func (c RefusalClass) String() string {
	switch c {
	case Missing:
		return "missing"
	case Invalid:
		return "invalid"
	case Unavailable:
		return "unavailable"
	case Expired:
		return "expired"
	case Revoked:
		return "revoked"
	default:
		return ""
	}
}
