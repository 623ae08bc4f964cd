package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func ExampleStatic() {
	v := verify.Static("the-token-of-this-test")
	p, err := v.Verify(context.Background(), "the-token-of-this-test")
	fmt.Println(p.Subject(), p.Method(), err)
	_, err = v.Verify(context.Background(), "another-token")
	fmt.Println(errors.Is(err, verify.ErrInvalidToken))
	// Output:
	// static token <nil>
	// true
}

func TestStatic(t *testing.T) {
	const one, two = "the-first-token-of-this-test", "the-second-token-of-this-test"
	v := verify.Static(one, two)
	for token, want := range map[string]error{
		one: nil, two: nil, "": verify.ErrNoToken, one[1:]: verify.ErrInvalidToken, verify.Malformed: verify.ErrInvalidToken,
		strings.Repeat("x", 100_000): verify.ErrInvalidToken,
	} {
		p, err := v.Verify(t.Context(), token)
		if !errors.Is(err, want) || (err == nil) != (p != nil) {
			t.Errorf("%.30q: %v, %v", token, p, err)
		}
		if err == nil && p.Credential() != verify.Digest(token) {
			t.Errorf("%.30q: the Principal belongs to another token", token)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(text, one) || strings.Contains(text, two) {
		t.Error("the formatted Verifier shows a token")
	}
}

// TestP5_StaticWithoutATokenPanics: an unset variable must not become a token.
func TestP5_StaticWithoutATokenPanics(t *testing.T) {
	for name, tokens := range map[string][]string{"none": nil, "empty": {""}, "one empty": {"the-first-token-of-this-test", ""}, "a placeholder": {"${APP_API_TOKEN}"}, "of Kubernetes": {"$(APP_API_TOKEN)"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			verify.Static(tokens...)
		}()
	}
}
