package wire

import (
	"errors"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Class is what a refusal tells the caller. It tells less than the verifier
// knows: wrong, expired and revoked tokens are all Invalid. The zero Class is
// Unavailable, so an unclassified error is a refusal that callers retry.
type Class uint8

// The classes of refusals.
const (
	Unavailable Class = iota // no token source is loaded yet; retry
	Missing                  // the request carries no token
	Invalid                  // the request carries a token that is not accepted
	Busy                     // there was no time to check the token; retry
	Classes                  // the number of classes
)

// Text returns the text of the refusal.
func (c Class) Text() string {
	switch c {
	case Unavailable:
		return "token source not loaded yet"
	case Busy:
		return "too many signatures are being checked; try again"
	default:
		return "missing or invalid token"
	}
}

// Temporary reports whether the same request may be accepted later.
func (c Class) Temporary() bool { return c == Unavailable || c == Busy }

// ClassOf returns the class of a verifier's error. It is Unavailable for nil and
// for an error that wraps none of package verify's sentinels. If the error wraps
// several, the first in this order decides: revoked or expired, busy, unavailable,
// invalid, missing.
func ClassOf(err error) Class {
	switch err { // most errors are a sentinel itself; comparing is cheaper than errors.Is
	case verify.ErrInvalidToken, verify.ErrExpiredToken, verify.ErrRevokedToken: //nolint:errorlint // errors.Is follows
		return Invalid
	case verify.ErrNoToken:
		return Missing
	case verify.ErrUnavailable:
		return Unavailable
	}
	switch {
	case errors.Is(err, verify.ErrRevokedToken), errors.Is(err, verify.ErrExpiredToken):
		return Invalid
	case errors.Is(err, verify.ErrBusy):
		return Busy
	case errors.Is(err, verify.ErrUnavailable):
		return Unavailable
	case errors.Is(err, verify.ErrInvalidToken):
		return Invalid
	case errors.Is(err, verify.ErrNoToken):
		return Missing
	}
	return Unavailable
}

// EnforceContract takes what a [verify.Verifier] returned for token, and returns
// what its contract allows. An empty or a malformed token is never accepted, and
// acceptance without a Principal becomes [verify.ErrUnavailable]. The returned
// Principal is nil if and only if the returned error is not.
func EnforceContract(token string, p *verify.Principal, err error) (*verify.Principal, error) {
	switch {
	case err != nil:
		return nil, err
	case token == "":
		return nil, verify.ErrNoToken
	case token == verify.Malformed:
		return nil, verify.ErrInvalidToken
	case p == nil:
		return nil, verify.ErrUnavailable
	}
	return p, nil
}
