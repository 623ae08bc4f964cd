package jwt

import (
	"strings"
	"testing"
	"time"
)

// TestSubjectIsTheLiteralNumber: a float64 would round the second.
func TestSubjectIsTheLiteralNumber(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	for _, sub := range []string{"17", "12345678901234567890", "9007199254740993", "0", "-4"} {
		token := k.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(map[string]any{"sub": nil})), "{", `{"sub":`+sub+`,"SUB":1,`, 1))
		for range 2 { // and from the cache
			if p, err := v.Verify(t.Context(), token); err != nil || p.Subject() != sub {
				t.Errorf("sub %s: %v, %v", sub, p, err)
			}
		}
	}
}

func TestFutureIssueTimeRefusesNothing(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), func(c *Config) { c.Leeway = -1 })
	if err := verdictOf(v, k.sign(t, claimsNow(map[string]any{"iat": time.Now().Add(time.Minute).Unix()}), nil)); err != nil {
		t.Error(err)
	}
}
