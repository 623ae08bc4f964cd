package inspect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
)

const (
	// usualLifetime is the longest lifetime without a warning.
	usualLifetime = 24 * time.Hour
	// usualBytes is the length of all headers together that every server accepts.
	usualBytes = 8 << 10
)

// Warnings says what is unusual about the token, and why every agent refuses it, no
// matter who signed it.
func (t *Token) Warnings(now time.Time) (out []string) {
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch alg := t.Header.Text("alg"); {
	case alg == "":
		warn("no alg that is text: such tokens are refused")
	case strings.EqualFold(alg, "none"):
		warn("alg is none: nobody has signed it, and no agent accepts it")
	case !slices.Contains(jwt.Algorithms(), alg):
		warn("alg is %s, which is none of %s; such tokens are refused", Quote(alg), strings.Join(jwt.Algorithms(), ", "))
	}
	if _, has := t.Header["crit"]; has {
		warn("the header has crit, an extension that must be understood (RFC 7515 section 4.1.11); none is here, so such tokens are refused")
	}
	t.warnTypes(warn)
	for _, name := range []string{"jku", "jwk", "x5u", "x5c"} {
		if _, has := t.Header[name]; has {
			warn("the header has %s, a key that the sender would choose: it is ignored", name)
		}
	}
	t.warnTimes(now, warn)
	for _, name := range []string{"iss", "aud"} {
		if texts := t.Claims.Texts(name); len(texts) == 0 || texts[0] == "" && len(texts) == 1 {
			warn("no %s that is text: it is refused, since an agent requires one", name)
		}
	}
	if sub, has := t.Claims["sub"]; !has || sub == "" {
		warn("no sub: who uses it has no name")
	}
	switch {
	case t.Bytes > jwt.DefaultMaxBytes:
		warn("%d bytes: more than %d are refused", t.Bytes, jwt.DefaultMaxBytes)
	case t.Bytes > usualBytes:
		warn("%d bytes: many servers refuse headers of more than %d", t.Bytes, usualBytes)
	}
	return out
}

// warnTypes warns of members of a wrong type.
func (t *Token) warnTypes(warn func(format string, args ...any)) {
	isText := func(value any) bool { _, ok := value.(string); return ok }
	isNumber := func(value any) bool { _, ok := value.(json.Number); return ok }
	isKeyID := func(value any) bool { return isText(value) && len(value.(string)) <= jwt.MaxKeyID }
	isSubject := func(value any) bool {
		number, ok := value.(json.Number)
		return isText(value) || ok && !strings.ContainsAny(number.String(), ".eE")
	}
	isTime := func(value any) bool { _, ok := Object{"": value}.Time(""); return ok }
	for _, c := range []struct {
		part  Object
		name  string
		right func(value any) bool
		wrong string
	}{
		{t.Header, "kid", isKeyID, fmt.Sprintf("no text, or longer than %d bytes", jwt.MaxKeyID)},
		{t.Header, "typ", isText, "no text"},
		{t.Claims, "exp", isTime, "no time, which is a number of seconds since 1970"},
		{t.Claims, "nbf", isTime, "no time, which is a number of seconds since 1970"},
		{t.Claims, "iat", isNumber, "no number"},
		{t.Claims, "sub", isSubject, "neither text nor a whole number"},
		{t.Claims, "jti", isText, "no text"},
	} {
		if value, has := c.part[c.name]; has && !c.right(value) {
			warn("%s is %s; such tokens are refused", c.name, c.wrong)
		}
	}
}

// warnTimes warns of times that make little sense.
func (t *Token) warnTimes(now time.Time, warn func(format string, args ...any)) {
	exp, hasExp := t.Claims.Time("exp")
	iat, hasIat := t.Claims.Time("iat")
	nbf, hasNbf := t.Claims.Time("nbf")
	if _, has := t.Claims["exp"]; !has {
		warn("no exp: it would be good for ever; such tokens are refused")
	}
	from := now
	if hasIat {
		from = iat
	}
	if lasts := exp.Sub(from); hasExp && lasts > usualLifetime {
		warn("it is good for %s: if it leaks, so is what leaked; an hour or less is usual", span(lasts))
	}
	if hasNbf && hasExp && !nbf.Before(exp) {
		warn("nbf is not before exp: it is never good")
	}
	if hasIat && iat.After(now) {
		warn("iat lies in the future: nothing is refused for that, but the clocks of issuer and agent differ")
	}
}
