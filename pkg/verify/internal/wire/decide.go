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

// ClassOf returns the class of a verifier's error. An error that wraps none of
// package verify's sentinels, and nil, are Unavailable.
func ClassOf(err error) Class {
	if err == verify.ErrInvalidToken { //nolint:errorlint // most refusals; Class also finds a wrapped one
		return Invalid
	}
	if err == nil {
		return Unavailable
	}
	switch verify.Class(err) {
	case verify.Missing:
		return Missing
	case verify.Invalid, verify.Expired, verify.Revoked:
		return Invalid
	case verify.Unavailable:
	}
	if errors.Is(err, verify.ErrBusy) {
		return Busy
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
