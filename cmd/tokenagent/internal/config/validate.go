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
	a := &r.Config

	require(a.MinTokenBytes >= 1, "{min-token-bytes} must be at least 1")
	require(use != InRealm || r.HasKeys() || r.HasTokens(), "it has no source; give it {token-file}, {env-file}, {token-env}, {key-file}, {jwks-url}, {kubernetes}, or an {issuer} that is an https URL")
	errs = append(errs, r.Issuer.validate(r.Given, r.has)...)
	for i := range r.Issuers {
		iss := &r.Issuers[i]
		for _, err := range iss.validate(iss.given, func(f Field) bool { return iss.has(f.Needs) }) {
			errs = append(errs, &option.IssuerError{Number: i + 1, Only: len(r.Issuers) == 1, Err: err})
		}
	}
	require(!r.HasKeys() || a.JWTCache >= 0 && a.JWTCache <= maxCache, "{jwt-cache} must be 0 to %d", maxCache)
	const negative = " must not be negative; 0s means none"
	require(a.Overlap >= 0, "{overlap}"+negative)
	require(a.Poll >= 0, "{poll-interval}"+negative)
	require(a.Debounce >= 0, "{debounce}"+negative)
	if r.HasKeys() || r.HasTokens() { // otherwise the agent looks for a source in the environment
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

// validate returns the errors of i. given are its settings that were given, and has is
// [Realm.has].
func (i *Issuer) validate(given map[string]int, has func(Field) bool) (errs []error) {
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, option.Errorf(option.Flag, format, args...))
		}
	}
	for _, f := range Fields {
		if _, ok := given[f.Name]; ok && !f.EntryOnly {
			switch {
			case has(f):
			case f.Needs == NeedsKubernetes:
				require(false, "{"+f.Name+"} goes with {kubernetes}; give both, or leave it out")
			case f.Name == "issuer":
				require(false, "{issuer} goes with {key-file}, {jwks-url} or {kubernetes}, unless it is an https URL at which the issuer says where its keys are")
			case f.Needs == NeedsKeys:
				require(false, "{"+f.Name+"} goes with {key-file}, {jwks-url}, {kubernetes} or an https URL as {issuer}, and none is given")
			case f.Name == "max-stale":
				require(false, "{max-stale} goes with {jwks-url}, {kubernetes} or, without {key-file}, an https URL as {issuer}; give both, or leave it out")
			default:
				require(false, "{"+f.Name+"} goes with {jwks-url} or, without {key-file}, an https URL as {issuer}; give both, or leave it out")
			}
		}
	}
	if i.hasKeys() {
		require(i.KeyAlgorithm == "" || slices.Contains(jwt.Algorithms(), i.KeyAlgorithm), "{key-algorithm} must be one of %s", strings.Join(jwt.Algorithms(), ", "))
		require(i.JWT.Leeway >= 0, "{leeway} must not be negative; 0s means none")
		if _, err := i.requiredClaims(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
