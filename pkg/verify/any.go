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
	return anyOf(append([]Verifier(nil), vs...))
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

// AwaitRevocation asks each in turn: those that did not vouch for p say so.
func (a anyOf) AwaitRevocation(ctx context.Context, p *Principal) bool {
	for _, v := range a {
		if w, ok := v.(RevocationWaiter); ok && w.AwaitRevocation(ctx, p) {
			return true
		}
	}
	return false
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
