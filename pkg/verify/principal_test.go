package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestContextKeepsValuesAndCancellation: a context with a Principal passes on the values
// and the cancellation of its parent.
func TestContextKeepsValuesAndCancellation(t *testing.T) {
	t.Parallel()
	type key struct{}
	cause := errors.New("enough")
	outer, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	p, other := NewPrincipal(PrincipalConfig{Subject: "canary-subject"}), NewPrincipal(PrincipalConfig{})
	ctx := NewContext(outer, p)
	below, stop := context.WithCancel(ctx)
	defer stop()

	for name, c := range map[string]context.Context{"the context": ctx, "its child": below} {
		if got, ok := FromContext(c); got != p || !ok {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
		if got := c.Value(key{}); got != "value" {
			t.Errorf("%s: the value of another key is %v", name, got)
		}
	}
	if got, ok := FromContext(NewContext(ctx, other)); got != other || !ok {
		t.Errorf("replaced by another Principal: %v, %v", got, ok)
	}
	if got, ok := FromContext(NewContext(ctx, nil)); got != nil || ok {
		t.Errorf("replaced by nil: %v, %v", got, ok)
	}
	if got, ok := FromContext(NewContext(below, nil)); got != nil || ok {
		t.Errorf("replaced by nil in a child: %v, %v", got, ok)
	}
	if got, ok := FromContext(ctx); got != p || !ok {
		t.Errorf("after the replacements: %v, %v", got, ok)
	}
	if got, ok := FromContext(outer); got != nil || ok {
		t.Errorf("the parent: %v, %v", got, ok)
	}
	if got, want := fmt.Sprintf("%v %+v", ctx, ctx), fmt.Sprintf("%[1]v.WithPrincipal %[1]v.WithPrincipal", outer); got != want {
		t.Errorf("formatted as %q, want %q", got, want)
	}
	cancel(cause)
	<-below.Done()
	if err := context.Cause(below); !errors.Is(err, cause) {
		t.Errorf("cause %v, want %v", err, cause)
	}
}

// TestClaimsAreDecodedWhenAskedFor by several goroutines at once, and never before.
func TestClaimsAreDecodedWhenAskedFor(t *testing.T) {
	t.Parallel()
	p := NewPrincipal(PrincipalConfig{ClaimsJSON: `{"scope":"canary","n":12}`})
	if p.claims.members != nil {
		t.Error("decoded before anybody asked")
	}
	if text := fmt.Sprintf("%v %+v %#v", p, p, *p); strings.Contains(text, "canary") {
		t.Errorf("rendered with its claims: %s", text)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			scope, has := p.Claim("scope")
			n, _ := p.Claim("n")
			if _, hasOther := p.Claim("x"); scope != "canary" || !has || n != 12.0 || hasOther {
				t.Errorf("scope %v, n %v", scope, n)
			}
		})
	}
	all.Wait()
	for name, c := range map[string]PrincipalConfig{
		"none": {}, "not JSON": {ClaimsJSON: "{"}, "not an object": {ClaimsJSON: `["a"]`}, "null": {ClaimsJSON: `null`},
	} {
		if v, has := NewPrincipal(c).Claim("a"); has || v != nil {
			t.Errorf("%s: %v", name, v)
		}
	}
	both := NewPrincipal(PrincipalConfig{Claims: map[string]any{"a": 1}, ClaimsJSON: `{"a":2}`})
	if v, _ := both.Claim("a"); v != 1 {
		t.Errorf("Claims and ClaimsJSON: %v", v)
	}
}
