package wire

import (
	"errors"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Class is what a refusal tells the caller, less than the verifier knows: a
// wrong, an expired and a revoked token look the same from outside. The zero
// Class is Unavailable, so that what nobody classified is refused and retried.
type Class uint8

// The classes.
const (
	Unavailable Class = iota // nobody can say yet; try again
	Missing                  // no token was presented
	Invalid                  // a token was presented and is not accepted
	Busy                     // there was no time to check it; try again
	Classes                  // how many there are
)

// ClassOf returns the class of a verifier's error. Nil and errors that wrap
// none of package verify's sentinels are Unavailable.
func ClassOf(err error) Class {
	switch err { // the sentinels themselves first: most errors are, and it is cheap
	case verify.ErrInvalidToken, verify.ErrExpiredToken, verify.ErrRevokedToken: //nolint:errorlint // wrapped ones are looked for below
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

// Hold holds a verifier to its contract, which said p and err of token: without a
// token there is no access, whatever it says, and a yes without a Principal is a fault
// of its own that is refused as [verify.ErrUnavailable]. The Principal is nil exactly
// when the error is not.
func Hold(token string, p *verify.Principal, err error) (*verify.Principal, error) {
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
