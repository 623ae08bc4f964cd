package config

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A Use is what a Realm is for.
type Use int

// The uses.
const (
	Run     Use = iota // a command that verifies tokens
	Check              // a command that needs no issuer and no audience
	InRealm            // a realm in a file
)

const (
	maxCache = 1_000_000             // bounds the memory: a cached token takes at most about 4 KiB
	minStale = 2 * time.Minute       // twice the shortest time between two requests for a JWKS
	minPoll  = 10 * time.Millisecond // as in agent.Config
)

// Validate returns every error of r, as a go-multierror of option.Errors.
func (r *Realm) Validate(use Use) error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, option.Errorf(option.Flag, format, args...))
		}
	}
	const negative = " must not be negative; 0s means none"
	a, hasKeys, isURL := &r.Config, r.HasKeys(), r.Config.JWKSURL != ""

	require(a.TokenFile == "" || a.EnvFile == "", "{token-file} and {env-file} are both set; one source is meant")
	require(a.TokenFile == "" || a.TokenEnv == "", "{token-file} and {token-env} are both set; one source is meant")
	require(a.MinTokenBytes >= 1, "{min-token-bytes} must be at least 1")
	require(use != InRealm || hasKeys || r.HasTokens(), "it has no source; give it {token-file}, {env-file}, {token-env}, {key-file} or {jwks-url}")
	for _, field := range Fields {
		if _, given := r.Given[field.Name]; given {
			require(hasKeys || field.Needs != NeedsKeys, "{"+field.Name+"} goes with {key-file} or {jwks-url}, and neither is given")
			require(isURL || field.Needs != NeedsURL, "{"+field.Name+"} goes with {jwks-url}; give both, or leave it out")
		}
	}
	if hasKeys {
		known := strings.Join(jwt.Algorithms(), ", ")
		unknown := func(alg string) bool { return !slices.Contains(jwt.Algorithms(), alg) }
		require(a.KeyFile == "" || !isURL, "{key-file} and {jwks-url} are both set; one source of keys is meant")
		require(use == Check || a.JWT.Issuer != "", "{issuer} is missing: give the iss that signed tokens must have, since the same keys may sign for others")
		require(use == Check || len(a.JWT.Audiences) > 0, "{audience} is missing: give the aud that signed tokens must have, since the same keys may sign for others")
		require(a.KeyAlgorithm == "" || !unknown(a.KeyAlgorithm), "{key-algorithm} must be one of %s", known)
		require(!slices.ContainsFunc(a.JWT.Algorithms, unknown), "{algorithm} must be one of %s", known)
		require(a.JWT.CacheSize >= 0 && a.JWT.CacheSize <= maxCache, "{jwt-cache} must be 0 to %d", maxCache)
		require(a.JWT.Leeway >= 0 && a.JWT.Leeway <= jwt.MaxLeeway, "{leeway} must be 0s to %s", jwt.MaxLeeway)
		require(a.Name != a.KeyName, "{name} and {key-name} are the same; metrics could not tell the two sources apart")
		if _, err := r.requiredClaims(); err != nil {
			errs = append(errs, err)
		}
	}
	if isURL {
		require(a.JWKS.MaxStale == 0 || a.JWKS.MaxStale >= minStale, "{max-stale} must be at least %s, or 0s for no limit", minStale)
		if _, err := jwks.Remote(a.JWKSURL, jwks.RemoteOptions{}); err != nil {
			require(false, "{jwks-url}: %s", strings.TrimPrefix(err.Error(), "jwks: remote: "))
		}
	}
	require(a.Overlap >= 0, "{overlap}"+negative)
	require(a.Poll >= 0, "{poll-interval}"+negative)
	require(a.Debounce >= 0, "{debounce}"+negative)
	require(a.Poll <= 0 || a.Poll >= minPoll, "{poll-interval} must be at least %s, or 0s for never", minPoll)
	require(a.MaxOverlap <= 0 || a.Overlap != 0, "{max-overlap} needs {overlap}, and that is 0s")
	require(a.MaxOverlap <= 0 || a.MaxOverlap >= a.Overlap, "{max-overlap} must be at least {overlap}, %s", a.Overlap)
	if err := (httpauth.Options{Headers: r.Headers}).Validate(); err != nil {
		require(false, "{header}: %w", err)
	}
	if len(errs) == 0 {
		return nil
	}
	return &multierror.Error{Errors: errs, ErrorFormat: option.OneLine}
}
