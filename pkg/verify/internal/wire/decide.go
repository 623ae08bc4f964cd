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
	Busy                     // too many other signatures are being checked; retry
	NumClasses               // the number of classes
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

// ClassOf returns the class of a verifier's error. It returns Unavailable for nil, and
// for an error that wraps none of package verify's errors.
func ClassOf(err error) Class {
	if err == verify.ErrInvalidToken { //nolint:errorlint // a shortcut for the most common error; Class finds wrapped ones
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

// EnforceContract corrects the result of a [verify.Verifier] that breaks its
// contract. It refuses an empty or malformed token that the Verifier accepted, and
// turns an acceptance without a Principal into [verify.ErrUnavailable]. Exactly one
// of the results is nil.
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
