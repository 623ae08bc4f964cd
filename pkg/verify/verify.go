// Package verify defines the interface of token verifiers.
//
// A [Verifier] receives the token that a caller presents. It returns a [Principal], or an
// error that wraps exactly one of the errors of this package. Package agent provides a
// Verifier for tokens that rotate, [Static] a Verifier for a fixed set of tokens, and
// [Any] a Verifier that asks several others. Packages httpauth and grpcauth use a
// Verifier to authenticate HTTP requests and gRPC calls.
package verify

import (
	"context"
	"errors"
)

// The reasons for a refusal. Every error that a Verifier of this module returns wraps
// exactly one of them. Metrics and logs tell them apart. The response to the caller is
// the same for ErrInvalidToken, ErrExpiredToken and ErrRevokedToken.
var (
	ErrNoToken      = errors.New("verify: no token presented")
	ErrInvalidToken = errors.New("verify: token not accepted")
	ErrExpiredToken = errors.New("verify: token no longer accepted")
	ErrRevokedToken = errors.New("verify: token revoked")
	ErrUnavailable  = errors.New("verify: no token source loaded yet")
)

// ErrBusy refuses a signed token because the Verifier was checking too many other
// signatures. It wraps [ErrUnavailable], but has its own text. The caller may try again.
var ErrBusy error = busyError{}

type busyError struct{}

func (busyError) Error() string { return "verify: too many signatures are being checked; try again" }
func (busyError) Unwrap() error { return ErrUnavailable }

// Malformed is a token that no Verifier accepts, because it contains a NUL byte, which no
// HTTP header field may contain (RFC 9110 section 5.5). Adapters pass Malformed to a
// Verifier if the caller sent a credential that they cannot read, such as a header sent
// twice. The refusal then counts as invalid, not as missing.
const Malformed = "\x00"

// A Verifier decides whether a presented token is accepted. The token is "" if the caller
// presented none; a Verifier then returns an error that wraps ErrNoToken or
// ErrUnavailable. Implementations must be safe for concurrent use and must not retain
// token.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Principal, error)
}

// A VerifierFunc is a function that implements [Verifier]. The function must be safe for
// concurrent use.
type VerifierFunc func(ctx context.Context, token string) (*Principal, error)

// Verify returns f(ctx, token).
func (f VerifierFunc) Verify(ctx context.Context, token string) (*Principal, error) {
	return f(ctx, token)
}

// A TokenSource returns the token that a sender sends now. Senders call Token for every
// request, so an implementation should answer from memory, as agent.Agent does.
// Implementations must be safe for concurrent use.
type TokenSource interface {
	Token() (string, error)
}

// A PreviousUseRecorder is a [Verifier] that records which callers still use a superseded
// token. The adapters call RecordPreviousUse after Verify returned a Principal in slot
// previous, and only then, so that verifying the current token costs nothing extra.
type PreviousUseRecorder interface {
	// RecordPreviousUse records a use by the caller with the address remote, as the
	// transport knows it: "host:port", or another form for networks other than TCP. It
	// ignores a Principal of another Verifier. It must not block, and must be safe for
	// concurrent use.
	RecordPreviousUse(p *Principal, remote string)
}

// A RevocationWaiter is a [Verifier] that reports the revocation of a credential after
// the credential was accepted. It serves operations that outlive a request, such as
// streams.
type RevocationWaiter interface {
	// AwaitRevocation blocks until the credential of p is revoked and returns true. It
	// returns true at once if the credential is already revoked. It returns false if ctx
	// ends, and false at once if p is the Principal of another Verifier.
	AwaitRevocation(ctx context.Context, p *Principal) bool
}
