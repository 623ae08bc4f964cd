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
	Run     Use = iota // by a command that verifies
	Check              // by a command that does without an issuer and an audience
	InRealm            // in a file of realms
)

const (
	// maxCache bounds what a slip of the pen costs: some 4 KiB a token, at the worst.
	maxCache = 1_000_000
	// maxLeeway is that of jwt.Config.
	maxLeeway = 10 * time.Minute
	// minStale is twice the shortest time between two requests for a JWKS.
	minStale = 2 * time.Minute
	// minPoll is that of agent.Config.
	minPoll = 10 * time.Millisecond
)

// problems collects what is wrong.
type problems []error

// unless adds an error where ok is false.
func (p *problems) unless(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, option.Errorf(option.Flag, format, args...))
	}
}

// Validate returns everything that is wrong with r as a go-multierror of
// option.Errors.
func (r *Realm) Validate(use Use) error {
	p := new(problems)
	r.Source.validate(p)
	p.unless(use != InRealm || r.Source.Given() || r.Keys.Given(), "it has no source; give it {token-file}, {env-file}, {token-env}, {key-file} or {jwks-url}")
	for i := range Fields {
		field := &Fields[i]
		if _, given := r.Given[field.Name]; given && !r.has(field.Needs) {
			p.unless(field.Needs != NeedsKeys, "{"+field.Name+"} goes with {key-file} or {jwks-url}, and neither is given")
			p.unless(field.Needs != NeedsURL, "{"+field.Name+"} goes with {jwks-url}; give both, or leave it out")
		}
	}
	if r.Keys.Given() {
		r.Keys.validate(p, use)
		p.unless(r.Source.Name != r.Keys.Name, "{name} and {key-name} are the same; metrics could not tell the two sources apart")
	}
	r.Rotation.validate(p)
	if err := (httpauth.Options{Headers: r.Headers}).Validate(); err != nil {
		p.unless(false, "{header}: %w", err)
	}
	if len(*p) == 0 {
		return nil
	}
	return &multierror.Error{Errors: *p, ErrorFormat: option.OneLine}
}

func (s *Source) validate(p *problems) {
	p.unless(s.TokenFile == "" || s.EnvFile == "", "{token-file} and {env-file} are both set; one source is meant")
	p.unless(s.TokenFile == "" || s.TokenEnv == "", "{token-file} and {token-env} are both set; one source is meant")
	p.unless(s.MinTokenBytes >= 1, "{min-token-bytes} must be at least 1")
}

func (k *Keys) validate(p *problems, use Use) {
	p.unless(k.File == "" || k.URL == "", "{key-file} and {jwks-url} are both set; one source of keys is meant")
	p.unless(use == Check || k.Issuer != "", "{issuer} is missing: give the iss that signed tokens must have, since the same keys may sign for others")
	p.unless(use == Check || len(k.Audiences) > 0, "{audience} is missing: give the aud that signed tokens must have, since the same keys may sign for others")
	known := jwt.Algorithms()
	unknown := func(alg string) bool { return !slices.Contains(known, alg) }
	p.unless(k.KeyAlgorithm == "" || !unknown(k.KeyAlgorithm), "{key-algorithm} must be one of %s", strings.Join(known, ", "))
	p.unless(!slices.ContainsFunc(k.Algorithms, unknown), "{algorithm} must be one of %s", strings.Join(known, ", "))
	p.unless(k.Cache >= 0 && k.Cache <= maxCache, "{jwt-cache} must be 0 to %d", maxCache)
	p.unless(k.Leeway >= 0 && k.Leeway <= maxLeeway, "{leeway} must be 0s to %s", maxLeeway)
	if _, err := k.required(); err != nil {
		*p = append(*p, err)
	}
	if k.URL == "" {
		return
	}
	p.unless(k.MaxStale == 0 || k.MaxStale >= minStale, "{max-stale} must be at least %s, or 0s for ever", minStale)
	if _, err := jwks.Remote(k.URL, jwks.RemoteOptions{}); err != nil {
		p.unless(false, "{jwks-url}: %s", strings.TrimPrefix(err.Error(), "jwks: remote: "))
	}
}

func (r *Rotation) validate(p *problems) {
	const negative = "must not be negative; 0s means none"
	p.unless(r.Overlap >= 0, "{overlap} "+negative)
	p.unless(r.Poll >= 0, "{poll-interval} "+negative)
	p.unless(r.Debounce >= 0, "{debounce} "+negative)
	p.unless(r.Poll <= 0 || r.Poll >= minPoll, "{poll-interval} must be at least %s, or 0s for never", minPoll)
	p.unless(r.MaxOverlap <= 0 || r.Overlap != 0, "{max-overlap} needs {overlap}, and that is 0s")
	p.unless(r.MaxOverlap <= 0 || r.MaxOverlap >= r.Overlap, "{max-overlap} must be at least {overlap}, %s", r.Overlap)
}
