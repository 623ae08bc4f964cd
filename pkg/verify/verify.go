// Package verify says what a verifier of tokens is.
//
// A [Verifier] gets the token as the caller sent it. It answers with a
// [Principal], or with an error that wraps exactly one of the errors of this
// package. An agent (package agent) is the Verifier of tokens that rotate, [Static]
// that of a fixed set, and [Any] asks several in turn. Packages httpauth and
// grpcauth ask a Verifier about HTTP requests and gRPC calls.
package verify

import (
	"context"
	"errors"
)

// The classes of refusal. Every error that a Verifier of this module returns
// wraps exactly one of them. They tell apart what metrics and logs tell apart;
// the answer to the caller is the same for the middle three.
var (
	ErrNoToken      = errors.New("verify: no token presented")
	ErrInvalidToken = errors.New("verify: token not accepted")
	ErrExpiredToken = errors.New("verify: token no longer accepted")
	ErrRevokedToken = errors.New("verify: token revoked")
	ErrUnavailable  = errors.New("verify: no token source loaded yet")
)

// ErrBusy is the refusal of a signed token whose signature could not be checked soon
// enough, because too many others were. It wraps [ErrUnavailable], whose text would be
// wrong here.
var ErrBusy error = busyError{}

type busyError struct{}

func (busyError) Error() string { return "verify: too many signatures are being checked; try again" }
func (busyError) Unwrap() error { return ErrUnavailable }

// Malformed is a token that no Verifier accepts, because it holds a byte
// (NUL, see RFC 9110 section 5.5) that no header can carry. Adapters present
// it for a credential that is there but cannot be read, such as a header sent
// twice, so that the refusal is counted as invalid and not as missing.
const Malformed = "\x00"

// A Verifier decides whether a presented token is good. token is "" where the
// caller presented none, which is always refused with ErrNoToken or
// ErrUnavailable. Implementations are safe for concurrent use and do not
// retain token.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Principal, error)
}

// VerifierFunc adapts a function to a [Verifier].
type VerifierFunc func(ctx context.Context, token string) (*Principal, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, token string) (*Principal, error) {
	return f(ctx, token)
}

// A TokenSource returns the token to send now; senders use it, where receivers use a
// [Verifier]. Senders ask it for every request, so it should answer from memory, as
// agent.Agent does. Implementations are safe for concurrent use.
type TokenSource interface {
	Token() (string, error)
}

// A PreviousUseRecorder is a [Verifier] that wants to know from where a
// superseded token is still used. The adapters call it after Verify returned a
// Principal whose slot is previous, and never otherwise, so that the current
// token's path pays nothing for it.
type PreviousUseRecorder interface {
	// RecordPreviousUse takes the caller's address as the transport knows it
	// ("host:port", or anything for other networks). It does not block.
	RecordPreviousUse(p *Principal, remote string)
}

// A RevocationWaiter is a [Verifier] that can tell when the credential of a
// Principal is revoked after it was accepted, for what lives longer than a
// request.
type RevocationWaiter interface {
	// AwaitRevocation returns true as soon as p's credential is revoked, at once
	// where it is so already, and false when ctx ends. Of a Principal that is
	// not its own it knows nothing: it returns false at once.
	AwaitRevocation(ctx context.Context, p *Principal) bool
}
