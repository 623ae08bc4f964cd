package verify_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Accept the tokens of two sources, for example while callers move from one to
// the other.
func ExampleAny() {
	v := verify.Any(
		verify.Static("the-token-of-the-old-gateway"),
		verify.Static("the-token-of-the-new-gateway"),
	)

	p, err := v.Verify(context.Background(), "the-token-of-the-new-gateway")
	fmt.Println(p.Subject(), err)
	_, err = v.Verify(context.Background(), "a-guess")
	fmt.Println(err)
	// Output:
	// static <nil>
	// verify: token not accepted
}

// If no Verifier accepts the token, Any returns the error that says most.
func ExampleAny_refusal() {
	revoked := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
		return nil, verify.ErrRevokedToken
	})
	v := verify.Any(revoked, verify.Static("another-token"))

	_, err := v.Verify(context.Background(), "a-revoked-token")
	fmt.Println(err)
	// Output: verify: token revoked
}

// Count refusals by class, as the metrics of an agent do.
func ExampleClass() {
	for _, err := range []error{
		verify.ErrNoToken,
		fmt.Errorf("source gateway: %w", verify.ErrExpiredToken),
		verify.ErrBusy,
		errors.New("dial tcp: connection refused"),
	} {
		fmt.Println(verify.Class(err))
	}
	// Output:
	// missing
	// expired
	// unavailable
	// unavailable
}

// Accept the tokens of a lookup table, one token for each caller.
func ExampleVerifierFunc() {
	callers := map[verify.ID]string{
		verify.Digest("the-token-of-billing"): "billing",
	}
	v := verify.VerifierFunc(func(_ context.Context, token string) (*verify.Principal, error) {
		if token == "" {
			return nil, verify.ErrNoToken
		}
		id := verify.Digest(token)
		name, ok := callers[id]
		if !ok {
			return nil, verify.ErrInvalidToken
		}
		return verify.NewPrincipal(verify.PrincipalConfig{
			Subject:    name,
			Method:     verify.MethodToken,
			Source:     "callers",
			KeyID:      verify.Fingerprint(id),
			Slot:       verify.SlotCurrent,
			Credential: id,
		}), nil
	})

	p, err := v.Verify(context.Background(), "the-token-of-billing")
	fmt.Println(p.Subject(), err)
	_, err = v.Verify(context.Background(), "")
	fmt.Println(err)
	// Output:
	// billing <nil>
	// verify: no token presented
}

// Build a Principal in a test of code that runs behind a Verifier.
func ExampleNewPrincipal() {
	p := verify.NewPrincipal(verify.PrincipalConfig{
		Subject: "billing",
		Method:  verify.MethodJWT,
		Source:  "issuer",
		KeyID:   "2026-11",
		Slot:    verify.SlotPrevious,
		Claims:  map[string]any{"scope": "read"},
	})

	fmt.Println(p.Subject(), p.Method(), p.Source(), p.KeyID(), p.Slot())
	fmt.Println(p.Claim("scope"))
	// Output:
	// billing jwt issuer 2026-11 previous
	// read true
}

// An adapter stores the Principal of a request in its context.
func ExampleNewContext() {
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "billing"})
	ctx := verify.NewContext(context.Background(), p)

	caller, ok := verify.FromContext(ctx)
	fmt.Println(caller.Subject(), ok)
	// Output: billing true
}

// A handler reads the Principal of the request from the context.
func ExampleFromContext() {
	handle := func(ctx context.Context) {
		p, ok := verify.FromContext(ctx)
		if !ok {
			fmt.Println("the caller is not authenticated")
			return
		}
		fmt.Println("the caller is", p.Subject())
	}

	handle(context.Background())
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "billing"})
	handle(verify.NewContext(context.Background(), p))
	// Output:
	// the caller is not authenticated
	// the caller is billing
}

// A source revokes a token by its digest, so that the token itself need not be
// written down.
func ExampleDigest() {
	fmt.Printf("revoked %x\n", verify.Digest("the-token-of-billing"))
	// Output: revoked c41ffc29a75ed6426f0c0e0fc9194b477b097f93b541ad5f4f023aa26206d0b1
}

// A log names a token by its fingerprint.
func ExampleFingerprint() {
	fmt.Println("key", verify.Fingerprint(verify.Digest("the-token-of-billing")))
	// Output: key c41ffc29
}
