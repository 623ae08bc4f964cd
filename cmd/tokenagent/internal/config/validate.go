package config

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/jwt"
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

// maxCache bounds the memory: a cached token takes at most about 4 KiB.
const maxCache = 1_000_000

// Validate returns every error of r, as a go-multierror of option.Errors. It checks what
// only flags and files can get wrong; [agent.Config.Validate] checks the rest.
func (r *Realm) Validate(use Use) error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, option.Errorf(option.Flag, format, args...))
		}
	}
	const negative = " must not be negative; 0s means none"
	a, hasKeys, isURL := &r.Config, r.HasKeys(), r.Issuer.JWKSURL != ""

	require(a.MinTokenBytes >= 1, "{min-token-bytes} must be at least 1")
	require(use != InRealm || hasKeys || r.HasTokens(), "it has no source; give it {token-file}, {env-file}, {token-env}, {key-file} or {jwks-url}")
	for _, field := range Fields {
		if _, given := r.Given[field.Name]; given {
			require(hasKeys || field.Needs != NeedsKeys, "{"+field.Name+"} goes with {key-file} or {jwks-url}, and neither is given")
			require(isURL || field.Needs != NeedsURL, "{"+field.Name+"} goes with {jwks-url}; give both, or leave it out")
		}
	}
	if hasKeys {
		require(r.Issuer.KeyAlgorithm == "" || slices.Contains(jwt.Algorithms(), r.Issuer.KeyAlgorithm), "{key-algorithm} must be one of %s", strings.Join(jwt.Algorithms(), ", "))
		require(a.JWTCache >= 0 && a.JWTCache <= maxCache, "{jwt-cache} must be 0 to %d", maxCache)
		require(r.Issuer.JWT.Leeway >= 0, "{leeway}"+negative)
		if _, err := r.requiredClaims(); err != nil {
			errs = append(errs, err)
		}
	}
	require(a.Overlap >= 0, "{overlap}"+negative)
	require(a.Poll >= 0, "{poll-interval}"+negative)
	require(a.Debounce >= 0, "{debounce}"+negative)
	if hasKeys || r.HasTokens() { // otherwise the agent looks for a source in the environment
		if invalid, ok := errors.AsType[*multierror.Error](r.AgentConfig(use, slog.New(slog.DiscardHandler)).Validate()); ok {
			errs = append(errs, invalid.Errors...)
		}
	}
	if err := (httpauth.Options{Headers: r.Headers}).Validate(); err != nil {
		require(false, "{header}: %w", err)
	}
	if len(errs) == 0 {
		return nil
	}
	return &multierror.Error{Errors: errs, ErrorFormat: option.OneLine}
}
