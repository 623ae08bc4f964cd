package inspect

import (
	"bytes"
	"encoding/json"
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

// Hints says what mends it that a verifier with the configuration c and these keys
// refused the token with err: everything in which the two differ, not alone what
// the verifier found first. In c no Issuer, or no Audiences, is any.
func (t *Token) Hints(c agent.JWT, keys []agent.TokenStatus, err error, now time.Time) (out []string) {
	hint := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	t.hintKey(c, keys, hint)
	if typ := t.Header.Text("typ"); len(c.Types) > 0 && !slices.ContainsFunc(c.Types, func(s string) bool { return bareType(s) == bareType(typ) }) {
		hint("typ: %s is asked for, and %s", quoteAll(c.Types), has(t.Header, "typ"))
	}
	if iss := t.Claims.Text("iss"); iss == "" || iss != c.Issuer {
		hint("iss: %s is asked for, and %s", quoteAll([]string{c.Issuer}), has(t.Claims, "iss"))
	}
	if !slices.ContainsFunc(t.Claims.Texts("aud"), func(a string) bool { return slices.Contains(c.Audiences, a) }) {
		hint("aud: %s is asked for, and %s", quoteAll(c.Audiences), has(t.Claims, "aud"))
	}
	t.hintTimes(c.Leeway, now, hint)
	t.hintClaims(c.RequiredClaims, hint)
	if errors.Is(err, jwt.ErrSignature) {
		if strings.HasPrefix(t.Header.Text("alg"), "HS") {
			hint("its signer has another secret, or it was changed on its way; white space around a secret counts for the signer and not here")
		} else {
			hint("its signer has another key, or it was changed on its way; get the keys again from its issuer")
		}
	}
	return out
}

func (t *Token) hintKey(c agent.JWT, keys []agent.TokenStatus, hint func(format string, args ...any)) {
	alg := oneName(t.Header.Text("alg"))
	if len(c.Algorithms) > 0 && !slices.ContainsFunc(c.Algorithms, func(a string) bool { return oneName(a) == alg }) {
		hint("alg: %s is asked for, and %s", quoteAll(c.Algorithms), has(t.Header, "alg"))
		return
	}
	if !slices.Contains(jwt.Algorithms(), alg) {
		return // a warning says so
	}
	_, named := t.Header.Find("kid")
	kid := t.Header.Text("kid")
	var sameName, fits int
	for _, k := range keys {
		if kid != "" && k.KeyID == kid {
			sameName++
		}
		if k.Algorithm == alg && (!named || k.KeyID == kid || k.KeyID == "") {
			fits++
		}
	}
	const tried = 8 // as in package verify
	switch {
	case fits > tried:
		hint("kid: %d keys could have signed it, and at most %d are tried; have its issuer name the key", fits, tried)
	case fits > 0:
	case sameName > 0:
		hint("alg: %s, and the key of its kid is for another; there are %s", has(t.Header, "alg"), list(keys))
	case named:
		hint("kid: %s, and there are %s", has(t.Header, "kid"), list(keys))
	default:
		hint("alg: %s, and no key is for it; there are %s", has(t.Header, "alg"), list(keys))
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

// hintClaims names each required claim that the token does not have, or has with
// another value.
func (t *Token) hintClaims(required map[string][]string, hint func(format string, args ...any)) {
	text, err := t.Claims.MarshalJSON()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // to show numbers as they were written
	members := map[string]any{}
	if err != nil || d.Decode(&members) != nil {
		return // malformed claims are reported elsewhere
	}
	all := claims.New(members, text)
	for _, name := range slices.Sorted(maps.Keys(required)) {
		r, err := claims.Require(name, required[name])
		if err != nil || r.Met(all) {
			continue
		}
		value, there := r.Find(members)
		written, err := json.Marshal(value)
		hint("%s: %s is asked for, and %s", termsafe.Text(name), quoteAll(required[name]), hasValue(name, written, there && err == nil))
	}
}

// has says what the token has as the member called name.
func has(o Object, name string) string {
	value, there := o.Find(name)
	return hasValue(name, value, there)
}

func hasValue(name string, value json.RawMessage, there bool) string {
	if !there {
		return "the token has no " + termsafe.Text(name)
	}
	return "the token has " + compact(value)
}

// list names the keys.
func list(keys []agent.TokenStatus) string {
	const most = 20
	var names []string
	for i, k := range keys {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(keys)-most))
			break
		}
		name := "one without a kid"
		if k.KeyID != "" {
			name = Quote(k.KeyID)
		}
		names = append(names, name+" ("+k.Algorithm+")")
	}
	if len(names) == 0 {
		return "no keys"
	}
	return strings.Join(names, ", ")
}

// quoteAll names what is asked for; "" is anything.
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

// oneName returns the one name of an algorithm that has two (RFC 9864).
func oneName(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// bareType returns a media type as it is compared (RFC 7515 section 4.1.9).
func bareType(t string) string { return strings.TrimPrefix(strings.ToLower(t), "application/") }
