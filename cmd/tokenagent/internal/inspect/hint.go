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
	"github.com/tokenagent/tokenagent/internal/jwt"
)

// Hints explains how to fix err, the error with which a verifier with the configuration c
// and these keys refused the token. It lists every difference, not only the first one that
// the verifier found. If c has no Issuer or no Audiences, every value is accepted.
func (t *Token) Hints(c agent.JWT, keys []agent.TokenStatus, err error, now time.Time) (out []string) {
	hint := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	alg := jwt.CanonicalAlgorithm(t.Header.text("alg"))
	typ := jwt.BareType(t.Header.text("typ"))
	issuerAccepted := t.Claims.text("iss") != "" && t.Claims.text("iss") == c.Issuer
	if c.TrustDomain != "" {
		c.Types = []string{"JWT", "JOSE"}
		if len(c.Algorithms) == 0 {
			c.Algorithms = jwt.SVIDAlgorithms()
		}
		issuerAccepted = issuerAccepted || c.Issuer == ""
	}
	trustDomain, _ := jwt.TrustDomainOf(t.Claims.text("sub"))
	_, hasType := t.Header["typ"]
	isAlg := func(a string) bool { return jwt.CanonicalAlgorithm(a) == alg }
	isType := func(s string) bool { return jwt.BareType(s) == typ }
	isAudience := func(a string) bool { return slices.Contains(c.Audiences, a) }
	algAccepted := len(c.Algorithms) == 0 || slices.ContainsFunc(c.Algorithms, isAlg)
	for _, m := range []struct {
		part     Object
		name     string
		accepted bool
		want     []string
	}{
		{t.Header, "alg", algAccepted, c.Algorithms},
		{t.Header, "typ", len(c.Types) == 0 || slices.ContainsFunc(c.Types, isType) || c.TrustDomain != "" && !hasType, c.Types},
		{t.Claims, "iss", issuerAccepted, []string{c.Issuer}},
		{t.Claims, "sub", c.TrustDomain == "" || trustDomain == c.TrustDomain, []string{"spiffe://" + c.TrustDomain + "/..."}},
		{t.Claims, "aud", slices.ContainsFunc(t.Claims.audiences(), isAudience), c.Audiences},
	} {
		if value, has := m.part[m.name]; !m.accepted {
			hint("%s: %s is asked for, and %s", m.name, quoteAll(m.want), presence(m.name, value, has))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		r, err := jwt.Require(name, c.RequiredClaims[name])
		if err == nil && !r.Met(jwt.NewClaims(t.Claims)) {
			value, has := r.Find(t.Claims)
			hint("%s: %s is asked for, and %s", termsafe.Text(name), quoteAll(c.RequiredClaims[name]), presence(name, value, has))
		}
	}
	if text := t.keyHint(alg, keys); algAccepted && text != "" {
		hint("%s", text)
	}

	leeway := jwt.DefaultLeeway
	if c.Leeway != 0 {
		leeway = max(c.Leeway, 0)
	}
	const clocks = "; if the clocks differ by more than --leeway, set them right or raise it"
	exp, hasExp := t.Times["exp"]
	switch age := now.Sub(exp); {
	case !hasExp || age < leeway:
	case age < 10*time.Minute:
		hint("exp: it expired %s ago; get a new token%s", span(age), clocks)
	default:
		hint("exp: it expired %s ago; get a new token", span(age))
	}
	if nbf := t.Times["nbf"]; now.Before(nbf.Add(-leeway)) {
		hint("nbf: it is not valid for another %s%s", span(nbf.Sub(now)), clocks)
	}
	switch {
	case !errors.Is(err, jwt.ErrSignature):
	case strings.HasPrefix(alg, "HS"):
		hint("its signer has another secret, or the token was changed after signing; the signer may use white space around the secret, which is removed here")
	default:
		hint("its signer has another key, or the token was changed after signing; get the keys again from its issuer")
	}
	return out
}

// keyHint explains why no key is tried on the token. It returns "" if keys are tried. It
// also returns "" if the algorithm is unknown, because warnings reports that.
func (t *Token) keyHint(alg string, keys []agent.TokenStatus) string {
	kid, named := t.Header["kid"]
	var sameName, tried int
	for _, k := range keys {
		if k.KeyID != "" && k.KeyID == kid {
			sameName++
		}
		if k.Algorithm == alg && (!named || k.KeyID == kid || k.KeyID == "") {
			tried++
		}
	}
	tokenAlg, tokenKid := presence("alg", t.Header["alg"], true), presence("kid", kid, named)
	switch {
	case !slices.Contains(jwt.Algorithms(), alg):
		return ""
	case tried > jwt.MaxTried:
		return fmt.Sprintf("kid: %d keys could have signed it, and at most %d are tried; have its issuer name the key", tried, jwt.MaxTried)
	case tried > 0:
		return ""
	case sameName > 0:
		return fmt.Sprintf("alg: %s, and the key of its kid is for another; there are %s", tokenAlg, list(keys))
	case named:
		return fmt.Sprintf("kid: %s, and there are %s", tokenKid, list(keys))
	default:
		return fmt.Sprintf("alg: %s, and no key is for it; there are %s", tokenAlg, list(keys))
	}
}

// presence describes the value of the member name in the token.
func presence(name string, value any, has bool) string {
	if !has {
		return "the token has no " + termsafe.Text(name)
	}
	return "the token has " + Quote(value)
}

// list names the keys.
func list(keys []agent.TokenStatus) string {
	const most = 20
	var names []string
	for _, k := range keys[:min(most, len(keys))] {
		name := "one without a kid"
		if k.KeyID != "" {
			name = Quote(k.KeyID)
		}
		names = append(names, name+" ("+k.Algorithm+")")
	}
	switch more := len(keys) - most; {
	case len(keys) == 0:
		return "no keys"
	case more > 0:
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// quoteAll lists the accepted texts. If the first one is "", any text is accepted.
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
