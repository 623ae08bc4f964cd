package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// keySource is the flags that say where verification keys are, and which signed
// tokens are accepted by them.
type keySource struct {
	keyFile, jwksURL, keyName                  string
	jwksCAFile, jwksBearerFile                 string
	issuer, keyAlgorithm                       string
	audience, algorithm, jwtType, requireClaim []string
	leeway, maxStale                           time.Duration
	cache                                      int
}

const (
	// maxCache bounds what a slip of the pen costs: some 4 KiB a token, at the worst.
	maxCache = 1_000_000
	// maxLeeway is that of verify.JWTConfig.
	maxLeeway = 10 * time.Minute
	// minStale is twice the shortest time between two requests for a JWKS.
	minStale = 2 * time.Minute
)

func (k *keySource) add(cmd *cobra.Command) {
	f := cmd.Flags()
	algorithms := strings.Join(verify.Algorithms(), ", ")
	f.StringVar(&k.keyFile, "key-file", "", "`PATH` of the keys by which signed tokens (JWT) are accepted: a JWKS, PEM or an HMAC secret, or a directory such as a mounted Secret")
	f.StringVar(&k.jwksURL, "jwks-url", "", "`URL` of the JWKS of an issuer, in place of --key-file: https, or http on loopback")
	f.StringVar(&k.jwksCAFile, "jwks-ca-file", "", "`PATH` of the PEM certificates of the CAs trusted for --jwks-url, in place of the system's; reloaded when it changes")
	f.StringVar(&k.jwksBearerFile, "jwks-bearer-file", "", "`PATH` of a token sent to the server of --jwks-url alone, as Authorization: Bearer; reloaded when it changes")
	f.StringVar(&k.keyName, "key-name", "keys", "`NAME` by which metrics and logs call the key source")
	f.StringVar(&k.issuer, "issuer", "", "the `ISS` that signed tokens must have, to the letter")
	f.StringArrayVar(&k.audience, "audience", nil, "an `AUD` that signed tokens may have, of which they must have one; repeatable")
	f.StringVar(&k.keyAlgorithm, "key-algorithm", "", "`ALG` of keys that name none (default that of the curve, RS256 for RSA, HS256 for a secret): "+algorithms)
	f.StringArrayVar(&k.algorithm, "algorithm", nil, "`ALG` that is accepted; repeatable (default all that there is a key for)")
	f.StringArrayVar(&k.jwtType, "jwt-type", nil, "the header `TYP` that signed tokens may have, such as at+jwt; repeatable (default any, or none)")
	f.StringArrayVar(&k.requireClaim, "require-claim", nil, "`NAME[=VALUE]` of a claim that signed tokens must have; /a/b is a JSON Pointer; repeatable, any value of one name will do")
	f.DurationVar(&k.leeway, "leeway", verify.DefaultLeeway, "how much the clocks of issuer and verifier may differ, at most 10m; 0s for none")
	f.IntVar(&k.cache, "jwt-cache", verify.DefaultJWTCache, "how many verified signed tokens to cache, so that their signature is not checked again; 0 for none")
	f.DurationVar(&k.maxStale, "max-stale", 0, "how long the keys of --jwks-url are good without its server having confirmed them; 0s means for ever")
}

// given reports whether there is a key source.
func (k *keySource) given() bool { return k.keyFile != "" || k.jwksURL != "" }

// complete reports whether the flags say all that an agent needs of them.
func (k *keySource) complete() bool { return k.issuer != "" && len(k.audience) > 0 }

// config puts the key source into cfg. Whoever verifies no token may do without
// an issuer and an audience.
func (k *keySource) config(cmd *cobra.Command, cfg *agent.Config, verifies bool) error {
	if err := k.usage(cmd, verifies); err != nil || !k.given() {
		return err
	}
	required := make(map[string][]string)
	for i, text := range k.requireClaim {
		name, value, valued := strings.Cut(text, "=")
		if name == "" {
			return fail.Usage("{require-claim} number %d: the form is NAME or NAME=VALUE, such as roles=reader", i+1)
		}
		if _, err := claims.Require(name, nil); err != nil {
			return fail.Usage("{require-claim} number %d: %s", i+1, err)
		}
		if valued && value == "" {
			return fail.Usage("{require-claim} number %d: the value is empty; give it one, or leave the '=' out where any value will do", i+1)
		}
		values := required[name]
		if valued {
			values = append(values, value)
		}
		required[name] = values
	}
	cfg.KeyFile, cfg.JWKSURL, cfg.KeyName, cfg.KeyAlgorithm = k.keyFile, k.jwksURL, k.keyName, k.keyAlgorithm
	cfg.JWT = verify.JWTConfig{
		Issuer: k.issuer, Audiences: k.audience, Algorithms: k.algorithm, Types: k.jwtType,
		RequiredClaims: required, Leeway: k.leeway,
	}
	if cfg.JWT.CacheSize = k.cache; k.cache == 0 {
		cfg.JWT.CacheSize = -1
	}
	if cfg.JWT.Issuer == "" {
		cfg.JWT.Issuer = unasked
	}
	if len(cfg.JWT.Audiences) == 0 {
		cfg.JWT.Audiences = []string{unasked}
	}
	if k.leeway == 0 {
		cfg.JWT.Leeway = -1
	}
	if k.jwksURL != "" {
		o := jwks.RemoteOptions{MaxStale: k.maxStale, Algorithm: k.keyAlgorithm}
		if _, err := jwks.Remote(k.jwksURL, o); err != nil {
			return fail.Usage("{jwks-url}: %s", strings.TrimPrefix(err.Error(), "jwks: remote: "))
		}
		o.CAFile, o.BearerFile = k.jwksCAFile, k.jwksBearerFile
		cfg.JWKS = o
	}
	return nil
}

// unasked stands for an issuer and an audience that nothing is compared with.
const unasked = "unasked"

// usage finds what is wrong with the flags as such.
func (k *keySource) usage(cmd *cobra.Command, verifies bool) error {
	changed := cmd.Flags().Changed
	if k.jwksURL == "" {
		for _, name := range []string{"jwks-ca-file", "jwks-bearer-file"} {
			if changed(name) {
				return fail.Usage("{" + name + "} goes with {jwks-url}; give both, or leave it out")
			}
		}
	}
	if !k.given() {
		// Variables do not count: they may be meant for another command.
		for _, name := range []string{"issuer", "audience", "key-algorithm", "algorithm", "jwt-type", "require-claim", "leeway", "max-stale", "key-name", "jwt-cache"} {
			if changed(name) {
				return fail.Usage("{" + name + "} goes with {key-file} or {jwks-url}, and neither is given")
			}
		}
		return nil
	}
	none := func(names []string, name string) bool { return !slices.Contains(names, name) }
	switch {
	case k.keyFile != "" && k.jwksURL != "":
		return fail.Usage("{key-file} and {jwks-url} are both set; one source of keys is meant")
	case verifies && k.issuer == "":
		return fail.Usage("{issuer} is missing: give the iss that signed tokens must have, since the same keys may sign for others")
	case verifies && len(k.audience) == 0:
		return fail.Usage("{audience} is missing: give the aud that signed tokens must have, since the same keys may sign for others")
	case k.keyAlgorithm != "" && none(verify.Algorithms(), k.keyAlgorithm):
		return fail.Usage("{key-algorithm} must be one of %s", strings.Join(verify.Algorithms(), ", "))
	case slices.ContainsFunc(k.algorithm, func(a string) bool { return none(verify.Algorithms(), a) }):
		return fail.Usage("{algorithm} must be one of %s", strings.Join(verify.Algorithms(), ", "))
	case k.cache < 0 || k.cache > maxCache:
		return fail.Usage("{jwt-cache} must be 0 to %d", maxCache)
	case k.leeway < 0 || k.leeway > maxLeeway:
		return fail.Usage("{leeway} must be 0s to %s", maxLeeway)
	case k.jwksURL == "" && changed("max-stale"):
		return fail.Usage("{max-stale} goes with {jwks-url}; a file needs nobody to confirm it")
	case k.jwksURL != "" && k.maxStale != 0 && k.maxStale < minStale:
		return fail.Usage("{max-stale} must be at least %s, or 0s for ever", minStale)
	}
	return nil
}
