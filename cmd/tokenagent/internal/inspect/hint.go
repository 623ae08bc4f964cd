package inspect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/internal/jwt"
)

// Hints says how to fix the error err with which a verifier with the configuration c and
// these keys refused the token. It lists every difference, not only the one that the
// verifier found first. If c has no Issuer or no Audiences, any is accepted.
func (t *Token) Hints(c agent.JWT, keys []agent.TokenStatus, err error, now time.Time) (out []string) {
	hint := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	differs := func(part Object, name string, want []string) {
		value, has := part[name]
		hint("%s: %s is asked for, and %s", termsafe.Text(name), quoteAll(want), presence(name, value, has))
	}
	alg := jwt.CanonicalAlgorithm(t.Header.Text("alg"))
	switch {
	case len(c.Algorithms) > 0 && !slices.ContainsFunc(c.Algorithms, func(a string) bool { return jwt.CanonicalAlgorithm(a) == alg }):
		differs(t.Header, "alg", c.Algorithms)
	case slices.Contains(jwt.Algorithms(), alg): // otherwise a warning says so
		t.hintKey(alg, keys, hint)
	}
	typ := jwt.BareType(t.Header.Text("typ"))
	if len(c.Types) > 0 && !slices.ContainsFunc(c.Types, func(s string) bool { return jwt.BareType(s) == typ }) {
		differs(t.Header, "typ", c.Types)
	}
	if iss := t.Claims.Text("iss"); iss == "" || iss != c.Issuer {
		differs(t.Claims, "iss", []string{c.Issuer})
	}
	if !slices.ContainsFunc(t.Claims.Texts("aud"), func(a string) bool { return slices.Contains(c.Audiences, a) }) {
		differs(t.Claims, "aud", c.Audiences)
	}
	t.hintTimes(c.Leeway, now, hint)
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		r, err := claims.Require(name, c.RequiredClaims[name])
		if err != nil || r.Met(claims.New(t.Claims, nil)) {
			continue
		}
		value, has := r.Find(t.Claims)
		hint("%s: %s is asked for, and %s", termsafe.Text(name), quoteAll(c.RequiredClaims[name]), presence(name, value, has))
	}
	switch {
	case !errors.Is(err, jwt.ErrSignature):
	case strings.HasPrefix(alg, "HS"):
		hint("its signer has another secret, or it was changed on its way; white space around a secret counts for the signer and not here")
	default:
		hint("its signer has another key, or it was changed on its way; get the keys again from its issuer")
	}
	return out
}

func (t *Token) hintKey(alg string, keys []agent.TokenStatus, hint func(format string, args ...any)) {
	kid, named := t.Header["kid"]
	var sameName, fits int
	for _, k := range keys {
		if k.KeyID != "" && k.KeyID == kid {
			sameName++
		}
		if k.Algorithm == alg && (!named || k.KeyID == kid || k.KeyID == "") {
			fits++
		}
	}
	tokenAlg, tokenKid := presence("alg", t.Header["alg"], true), presence("kid", kid, named)
	switch {
	case fits > jwt.MaxTried:
		hint("kid: %d keys could have signed it, and at most %d are tried; have its issuer name the key", fits, jwt.MaxTried)
	case fits > 0:
	case sameName > 0:
		hint("alg: %s, and the key of its kid is for another; there are %s", tokenAlg, list(keys))
	case named:
		hint("kid: %s, and there are %s", tokenKid, list(keys))
	default:
		hint("alg: %s, and no key is for it; there are %s", tokenAlg, list(keys))
	}
}

func (t *Token) hintTimes(leeway time.Duration, now time.Time, hint func(format string, args ...any)) {
	if leeway == 0 {
		leeway = jwt.DefaultLeeway
	}
	leeway = max(leeway, 0)
	const clocks = "; if the clocks differ by more than --leeway, set them right or raise it"
	if exp, ok := t.Claims.Time("exp"); ok && !now.Before(exp.Add(leeway)) {
		also := ""
		if now.Sub(exp) < 10*time.Minute {
			also = clocks
		}
		hint("exp: it expired %s ago; get a new token%s", span(now.Sub(exp)), also)
	}
	if nbf, ok := t.Claims.Time("nbf"); ok && now.Before(nbf.Add(-leeway)) {
		hint("nbf: it is not good for another %s%s", span(nbf.Sub(now)), clocks)
	}
}

// presence says which value the member name has in the token.
func presence(name string, value any, has bool) string {
	if !has {
		return "the token has no " + termsafe.Text(name)
	}
	return "the token has " + compact(value)
}

// list names the keys.
func list(keys []agent.TokenStatus) string {
	if len(keys) == 0 {
		return "no keys"
	}
	const most = 20
	var names []string
	for _, k := range keys[:min(most, len(keys))] {
		name := "one without a kid"
		if k.KeyID != "" {
			name = Quote(k.KeyID)
		}
		names = append(names, name+" ("+k.Algorithm+")")
	}
	if more := len(keys) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// quoteAll lists the texts that are asked for. "" means any.
func quoteAll(texts []string) string {
	if len(texts) == 0 || texts[0] == "" {
		return "one"
	}
	quoted := make([]string, len(texts))
	for i, s := range texts {
		quoted[i] = Quote(s)
	}
	return strings.Join(quoted, " or ")
}
