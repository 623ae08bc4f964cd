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
	// usualLifetime is the longest lifetime of a token that nobody wonders about.
	usualLifetime = 24 * time.Hour
	// usualBytes is what servers take as a header, all in all.
	usualBytes = 8 << 10
	// maxBytes and maxKeyID are those of package verify.
	maxBytes = 16 << 10
	maxKeyID = 1024
)

// Times are the claims that are moments (RFC 7519 section 4.1, OpenID Connect
// Core section 2).
func Times() []string { return []string{"exp", "nbf", "iat", "auth_time"} }

// Warnings says what is unusual about the token, and what keeps any agent from
// accepting it whoever signed it.
func (t *Token) Warnings(now time.Time) (out []string) {
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	t.warnHeader(warn)
	for _, name := range []string{"exp", "nbf"} {
		if _, there := t.Claims.Find(name); there {
			if _, ok := t.Claims.Time(name); !ok {
				warn("%s is no time, which is a number of seconds since 1970; such tokens are refused", name)
			}
		}
	}
	exp, hasExp := t.Claims.Time("exp")
	iat, hasIat := t.Claims.Time("iat")
	nbf, hasNbf := t.Claims.Time("nbf")
	if iat, there := t.Claims.Find("iat"); there && !isNumber(iat) {
		warn("iat is no number; such tokens are refused")
	}
	if _, there := t.Claims.Find("exp"); !there {
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
	for _, name := range []string{"iss", "aud"} {
		if len(t.Claims.Texts(name)) == 0 {
			warn("no %s that is text: it is refused, since an agent requires one", name)
		}
	}
	if _, there := t.Claims.Find("sub"); there && !t.Claims.isText("sub") && !t.Claims.isWhole("sub") {
		warn("sub is neither text nor a whole number; such tokens are refused")
	}
	if _, there := t.Claims.Find("jti"); there && !t.Claims.isText("jti") {
		warn("jti is no text; such tokens are refused")
	}
	if _, there := t.Claims.Find("sub"); !there || t.Claims.Text("sub") == "" && t.Claims.isText("sub") {
		warn("no sub: who uses it has no name")
	}
	switch {
	case t.Bytes > maxBytes:
		warn("%d bytes: more than %d are refused", t.Bytes, maxBytes)
	case t.Bytes > usualBytes:
		warn("%d bytes: many servers refuse headers of more than %d", t.Bytes, usualBytes)
	}
	return out
}

func (t *Token) warnHeader(warn func(format string, args ...any)) {
	switch alg := t.Header.Text("alg"); {
	case alg == "":
		warn("no alg that is text: such tokens are refused")
	case strings.EqualFold(alg, "none"):
		warn("alg is none: nobody has signed it, and no agent accepts it")
	case !slices.Contains(jwt.Algorithms(), alg):
		warn("alg is %s, which is none of %s; such tokens are refused", Quote(alg), strings.Join(jwt.Algorithms(), ", "))
	}
	if _, there := t.Header.Find("crit"); there {
		warn("the header has crit, an extension that must be understood (RFC 7515 section 4.1.11); none is here, so such tokens are refused")
	}
	if _, there := t.Header.Find("kid"); there && !t.Header.isText("kid") || len(t.Header.Text("kid")) > maxKeyID {
		warn("kid is no text, or longer than %d bytes; such tokens are refused", maxKeyID)
	}
	if _, there := t.Header.Find("typ"); there && !t.Header.isText("typ") {
		warn("typ is no text; such tokens are refused")
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c"} {
		if _, there := t.Header.Find(name); there {
			warn("the header has %s, a key that the sender would choose: it is ignored", name)
		}
	}
}

func isNumber(value json.RawMessage) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9')
}

// span words a duration without its zeros.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// when words a moment of the token.
func when(name string, at, now time.Time) string {
	text, left := at.Format(time.RFC3339), at.Sub(now)
	switch {
	case name == "exp" && left <= 0:
		return text + ", expired " + span(-left) + " ago"
	case left <= 0:
		return text + ", " + span(-left) + " ago"
	case name == "nbf":
		return text + ", not good for another " + span(left)
	default:
		return text + ", in " + span(left)
	}
}
