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
	// usualBytes is a total length of all headers that every server accepts.
	usualBytes = 8 << 10
)

// warnings returns what is unusual about the token. It includes every reason for which all
// agents refuse the token, with any keys.
func (t *Token) warnings(now time.Time) (out []string) {
	warn := func(unusual bool, format string, args ...any) {
		if unusual {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	alg := t.Header.text("alg")
	isNone := strings.EqualFold(alg, "none")
	warn(alg == "", "alg is missing or not a string; such tokens are refused")
	warn(isNone, "alg is none: the token is not signed, and no agent accepts it")
	warn(alg != "" && !isNone && !slices.Contains(jwt.Algorithms(), alg),
		"alg is %s, which is none of %s; such tokens are refused", Quote(alg), strings.Join(jwt.Algorithms(), ", "))
	_, hasCrit := t.Header["crit"]
	warn(hasCrit, "the header has crit, an extension that must be understood (RFC 7515 section 4.1.11); agents understand none, so such tokens are refused")
	for _, c := range []struct {
		part  Object
		name  string
		right func(value any) bool
		wrong string
	}{
		{t.Header, "kid", isKeyID, fmt.Sprintf("not a string, or longer than %d bytes", jwt.MaxKeyID)},
		{t.Header, "typ", isText, "not a string"},
		{t.Claims, "exp", isTime, "not a time, which is a number of seconds since 1970"},
		{t.Claims, "nbf", isTime, "not a time, which is a number of seconds since 1970"},
		{t.Claims, "iat", isNumber, "not a number"},
		{t.Claims, "sub", isSubject, "neither a string nor a whole number"},
		{t.Claims, "jti", isText, "not a string"},
	} {
		value, has := c.part[c.name]
		warn(has && !c.right(value), "%s is %s; such tokens are refused", c.name, c.wrong)
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c"} {
		_, has := t.Header[name]
		warn(has, "the header has %s, which would let the sender choose the key; it is ignored", name)
	}

	exp, iat, nbf := t.Times["exp"], t.Times["iat"], t.Times["nbf"] // the zero Time if there is none
	_, hasExp := t.Claims["exp"]
	issued := iat
	if iat.IsZero() {
		issued = now
	}
	warn(!hasExp, "no exp: the token would be valid for ever; such tokens are refused")
	warn(!exp.IsZero() && exp.Sub(issued) > usualLifetime,
		"it is valid for %s, and so is a leaked copy; an hour or less is usual", span(exp.Sub(issued)))
	warn(!nbf.IsZero() && !exp.IsZero() && !nbf.Before(exp), "nbf is not before exp: it is never valid")
	warn(iat.After(now), "iat is in the future: the token is not refused for that, but the clocks of issuer and agent differ")

	aud := t.Claims.audiences()
	_, isSVID := jwt.TrustDomainOf(t.Claims.text("sub"))
	warn(t.Claims.text("iss") == "" && !isSVID, "iss is missing or not a string: the token is refused, because an agent requires an issuer")
	warn(len(aud) == 0 || len(aud) == 1 && aud[0] == "", "aud is missing or not a string: the token is refused, because an agent requires an audience")
	sub, hasSub := t.Claims["sub"]
	warn(!hasSub || sub == "", "no sub: its user has no name")
	warn(t.Bytes > jwt.MaxBytes, "%d bytes: more than %d are refused", t.Bytes, jwt.MaxBytes)
	warn(t.Bytes > usualBytes && t.Bytes <= jwt.MaxBytes, "%d bytes: many servers refuse headers of more than %d", t.Bytes, usualBytes)
	return out
}

func isText(value any) bool   { _, ok := value.(string); return ok }
func isNumber(value any) bool { _, ok := value.(json.Number); return ok }
func isTime(value any) bool   { _, ok := numericDate(value); return ok }

func isKeyID(value any) bool {
	kid, ok := value.(string)
	return ok && len(kid) <= jwt.MaxKeyID
}

func isSubject(value any) bool {
	number, ok := value.(json.Number)
	return isText(value) || ok && !strings.ContainsAny(number.String(), ".eE")
}
