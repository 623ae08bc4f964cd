package generate

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// claimFlags are the flags for the claims of a JWT.
type claimFlags struct {
	subject, issuer      string
	audience, claim      []string
	expiresIn, notBefore time.Duration
}

func (c *claimFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&c.subject, "subject", "", "`SUB` of the JWT: who it is about")
	fs.StringVar(&c.issuer, "issuer", "", "`ISS` of the JWT: who issues it")
	fs.StringArrayVar(&c.audience, "audience", nil, "`AUD` of the JWT: who it is for; repeatable")
	fs.DurationVar(&c.expiresIn, "expires-in", time.Hour, "`DURATION` from now for which the JWT is valid (claim exp)")
	fs.DurationVar(&c.notBefore, "not-before-in", 0, "`DURATION` from now until the JWT becomes valid (claim nbf); 0s omits the claim")
	fs.StringArrayVar(&c.claim, "claim", nil, "`NAME=VALUE` of one more claim; VALUE is JSON if it can be read as JSON, otherwise text; repeatable")
}

// claims returns the claims at now, and when they expire.
func (c *claimFlags) claims(now time.Time) (jwt.MapClaims, time.Time, error) {
	switch {
	case c.expiresIn < time.Second:
		return nil, time.Time{}, exitcode.Usage("--expires-in must be at least 1s")
	case c.notBefore < 0:
		return nil, time.Time{}, exitcode.Usage("--not-before-in must not be negative; 0s leaves the claim out")
	case c.notBefore >= c.expiresIn:
		return nil, time.Time{}, exitcode.Usage("--not-before-in must be shorter than --expires-in, or the token is never valid")
	}
	now = now.UTC().Truncate(time.Second)
	expires := now.Add(c.expiresIn).Truncate(time.Second)
	m := jwt.MapClaims{"iat": now.Unix(), "exp": expires.Unix(), "jti": rand.Text()}
	if c.subject != "" {
		m["sub"] = c.subject
	}
	if c.issuer != "" {
		m["iss"] = c.issuer
	}
	switch len(c.audience) {
	case 0:
	case 1: // RFC 7519 section 4.1.3: a single one may be plain text
		m["aud"] = c.audience[0]
	default:
		m["aud"] = c.audience
	}
	if c.notBefore > 0 {
		m["nbf"] = now.Add(c.notBefore).Unix()
	}
	for i, text := range c.claim {
		name, value, err := claim(text)
		if err != nil {
			return nil, time.Time{}, exitcode.Usage("--claim number %d: %w", i+1, err)
		}
		if _, twice := m[name]; twice {
			return nil, time.Time{}, exitcode.Usage("--claim number %d: %s is given twice", i+1, name)
		}
		m[name] = value
	}
	return m, expires, nil
}

// claim splits NAME=VALUE. A number keeps all its digits.
func claim(text string) (name string, value any, err error) {
	name, text, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return "", nil, errors.New("the form is NAME=VALUE, such as roles=[\"reader\"]")
	}
	flag := map[string]string{"sub": "subject", "iss": "issuer", "aud": "audience", "exp": "expires-in", "nbf": "not-before-in"}[name]
	switch {
	case flag != "":
		return "", nil, fmt.Errorf("%s has a flag of its own, --%s", name, flag)
	case name == "iat", name == "jti":
		return "", nil, fmt.Errorf("%s is set by generate itself", name)
	}
	if !json.Valid([]byte(text)) {
		return name, text, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&value)
	return name, value, err
}
