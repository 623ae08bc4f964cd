package verify

import "fmt"

// A refusal says in words why a signed token is refused, and is of one class. Its
// text is a constant: nothing of the token goes in.
func refusal(class error, why string) error { return fmt.Errorf("%w: %s", class, why) }

// ErrSignature is the refusal of a signed token whose signature none of the
// accepted keys has made. It wraps [ErrInvalidToken]. It is told apart because it
// alone says that somebody forged or changed a token, or that the keys are those
// of another issuer; the answer to the caller is the same.
var ErrSignature = refusal(ErrInvalidToken, "no accepted key has made its signature")

// Why else signed tokens are refused.
var (
	errForm             = refusal(ErrInvalidToken, "not a JSON Web Token in compact form, or not in its one strict spelling")
	errHeader           = refusal(ErrInvalidToken, "its header is longer than what is read before a signature is checked")
	errTwice            = refusal(ErrInvalidToken, "a member stands twice in its header or claims")
	errTooLong          = refusal(ErrInvalidToken, "longer than what is parsed")
	errCritical         = refusal(ErrInvalidToken, "its header has crit: an extension that must be understood, and none is")
	errAlgorithm        = refusal(ErrInvalidToken, "its algorithm is none that is accepted")
	errType             = refusal(ErrInvalidToken, "its typ is none that is accepted")
	errUnknownKey       = refusal(ErrInvalidToken, "no key has the name that its kid gives")
	errOtherAlgorithm   = refusal(ErrInvalidToken, "the key that its kid names is for another algorithm")
	errNoKeyOfAlgorithm = refusal(ErrInvalidToken, "it names no key, and none is for its algorithm")
	errNoExpiry         = refusal(ErrInvalidToken, "it has no exp, or none that is a time")
	errNotBefore        = refusal(ErrInvalidToken, "its nbf has not come yet, or is no time")
	errIssuedAt         = refusal(ErrInvalidToken, "its iat is no number")
	errIssuer           = refusal(ErrInvalidToken, "its iss is not the accepted issuer")
	errAudience         = refusal(ErrInvalidToken, "its aud is none of the accepted audiences")
	errClaims           = refusal(ErrInvalidToken, "a required claim is missing or has another value")
	errSubject          = refusal(ErrInvalidToken, "its sub is neither a string nor a whole number")
	errTokenID          = refusal(ErrInvalidToken, "its jti is no string")
	errExpired          = refusal(ErrExpiredToken, "its exp has come")
	errKeyExpired       = refusal(ErrExpiredToken, "the key that signed it was superseded, and its overlap has ended")
	errRevokedKey       = refusal(ErrRevokedToken, "the key that it names, or the one for its algorithm, is revoked")
	errRevoked          = refusal(ErrRevokedToken, "it is revoked, by its jti or by its digest")
	errNoKeys           = refusal(ErrUnavailable, "no keys loaded yet")
)
