package jwt

import (
	"fmt"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// refusal returns an error that wraps class and says why a signed token is refused. The
// text is constant: it never quotes the token.
func refusal(class error, why string) error { return fmt.Errorf("%w: %s", class, why) }

// ErrSignature refuses a signed token if no accepted key made its signature. It wraps
// [verify.ErrInvalidToken]. It is exported because only this error means that somebody
// forged or changed a token, or that the keys belong to another issuer. The response to
// the caller is the same as for other invalid tokens.
var ErrSignature = refusal(verify.ErrInvalidToken, "no accepted key has made its signature")

// The other reasons to refuse a signed token.
var (
	errForm             = refusal(verify.ErrInvalidToken, "not a JSON Web Token in compact form, or not in its canonical spelling")
	errHeader           = refusal(verify.ErrInvalidToken, "its header is longer than 4 KiB")
	errTwice            = refusal(verify.ErrInvalidToken, "a member occurs twice in its header or claims")
	errTooLong          = refusal(verify.ErrInvalidToken, "longer than 16 KiB")
	errCritical         = refusal(verify.ErrInvalidToken, "its header has crit, and no critical extension is supported")
	errAlgorithm        = refusal(verify.ErrInvalidToken, "its algorithm is none that is accepted")
	errType             = refusal(verify.ErrInvalidToken, "its typ is none that is accepted")
	errUnknownKey       = refusal(verify.ErrInvalidToken, "no key has the name that its kid gives")
	errOtherAlgorithm   = refusal(verify.ErrInvalidToken, "the key that its kid names is for another algorithm")
	errNoKeyOfAlgorithm = refusal(verify.ErrInvalidToken, "it names no key, and none is for its algorithm")
	errNoExpiry         = refusal(verify.ErrInvalidToken, "it has no exp, or its exp is not a time")
	errNotBefore        = refusal(verify.ErrInvalidToken, "its nbf is in the future, or is not a time")
	errIssuedAt         = refusal(verify.ErrInvalidToken, "its iat is not a number")
	errIssuer           = refusal(verify.ErrInvalidToken, "its iss is not the accepted issuer")
	errAudience         = refusal(verify.ErrInvalidToken, "its aud is none of the accepted audiences")
	errClaims           = refusal(verify.ErrInvalidToken, "a required claim is missing or has another value")
	errSubject          = refusal(verify.ErrInvalidToken, "its sub is neither a string nor a whole number")
	errSPIFFEID         = refusal(verify.ErrInvalidToken, "its sub is not the SPIFFE ID of a workload, in the form spiffe://TRUST-DOMAIN/PATH")
	errTrustDomain      = refusal(verify.ErrInvalidToken, "its sub is a SPIFFE ID of a trust domain that its signer does not belong to")
	errTokenID          = refusal(verify.ErrInvalidToken, "its jti is not a string")
	errExpired          = refusal(verify.ErrExpiredToken, "its exp has come")
	errKeyExpired       = refusal(verify.ErrExpiredToken, "the key that signed it was superseded, and its overlap has ended")
	errRevokedKey       = refusal(verify.ErrRevokedToken, "the key that it names, or the one for its algorithm, is revoked")
	errRevoked          = refusal(verify.ErrRevokedToken, "it is revoked, by its jti or by its digest")
	errNoKeys           = refusal(verify.ErrUnavailable, "no keys loaded yet")
	errNoName           = refusal(verify.ErrUnavailable, "the name of its issuer may be one that is not known yet")
)
