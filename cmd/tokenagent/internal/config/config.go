// Package config reads the settings of realms: where tokens and keys are, and how they
// rotate. Flags and the YAML of a file of realms set the same Realm through one table,
// Fields, and Validate checks it.
package config

import (
	"cmp"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A Realm holds the settings of one realm, or of a command without realms, as users write
// them: 0 means none. [Realm.AgentConfig] returns the settings of the agent as the agent
// reads them.
type Realm struct {
	realm.Spec

	Issuer  Issuer   // of the flags, or of the keys of the realm itself
	Issuers []Issuer // the entries of the key issuers; Issuer is then not used
	// Given maps the names of the settings that were given explicitly to their line in
	// the file of realms, or to 0 for a flag. Settings from environment variables are not
	// in it: a variable may be meant for another command.
	Given map[string]int
}

// An Issuer holds the settings of an issuer as users write them.
type Issuer struct {
	agent.Issuer

	RequireClaims []string       // each NAME or NAME=VALUE
	given         map[string]int // of an entry of issuers: as Realm.Given
	line          int            // of an entry of issuers
}

// Defaults returns a Realm with the default of every setting.
func Defaults() Realm {
	return Realm{
		Spec: realm.Spec{Config: agent.Config{
			Name: "token", MinTokenBytes: token.DefaultMinBytes, JWTCache: jwt.DefaultCacheSize,
			Overlap: agent.DefaultOverlap, Poll: 10 * time.Second, Debounce: time.Second,
		}},
		Issuer: Issuer{Issuer: agent.Issuer{Name: "keys", JWT: agent.JWT{Leeway: jwt.DefaultLeeway}}},
		Given:  make(map[string]int),
	}
}

// HasTokens reports whether a token source is named.
func (r *Realm) HasTokens() bool {
	return r.Config.TokenFile != "" || r.Config.TokenEnv != "" || r.Config.EnvFile != ""
}

// HasKeys reports whether a key source is named.
func (r *Realm) HasKeys() bool { return len(r.Issuers) > 0 || r.Issuer.hasKeys() }

func (i *Issuer) hasKeys() bool { return i.KeyFile != "" || i.hasServer() }

// hasServer reports whether the keys are on a server: at a given URL, at one that is
// discovered, or at the API server of Kubernetes.
func (i *Issuer) hasServer() bool {
	return i.JWKSURL != "" || i.Kubernetes || i.KeyFile == "" && jwks.CanDiscover(i.JWT.Issuer)
}

// AgentConfig returns the configuration of the agent. For [Check], an issuer and an
// audience that are not given are ones that no token has (RFC 2606 section 2), because the
// agent requires both.
func (r *Realm) AgentConfig(use Use, log *slog.Logger) agent.Config {
	cfg := r.Config
	cfg.Logger = log
	// For the agent 0 means the default, and a negative value none.
	for _, d := range []*time.Duration{&cfg.Overlap, &cfg.Poll, &cfg.Debounce} {
		if *d == 0 {
			*d = -1
		}
	}
	if cfg.JWTCache == 0 {
		cfg.JWTCache = -1
	}
	switch {
	case len(r.Issuers) > 0:
		for i := range r.Issuers {
			cfg.Issuers = append(cfg.Issuers, r.Issuers[i].agentIssuer(use))
		}
	case r.HasKeys():
		cfg.Issuers = []agent.Issuer{r.Issuer.agentIssuer(use)}
	default: // the setting came from an environment variable for another command
		cfg.JWTCache = 0
	}
	return cfg
}

func (i *Issuer) agentIssuer(use Use) agent.Issuer {
	iss := i.Issuer
	if use == Check {
		const placeholder = "https://issuer.invalid"
		if !iss.Kubernetes && iss.JWT.TrustDomain == "" {
			iss.JWT.Issuer = cmp.Or(iss.JWT.Issuer, placeholder)
		}
		if len(iss.JWT.Audiences) == 0 {
			iss.JWT.Audiences = []string{placeholder}
		}
	}
	iss.JWT.RequiredClaims, _ = i.requiredClaims()
	if iss.JWT.Leeway == 0 { // for the agent 0 means the default
		iss.JWT.Leeway = -1
	}
	if !i.hasServer() {
		iss.JWKS = agent.JWKS{}
	}
	return iss
}

// requiredClaims returns the accepted values of each claim that RequireClaims names.
func (i *Issuer) requiredClaims() (map[string][]string, error) {
	required := make(map[string][]string)
	for n, text := range i.RequireClaims {
		name, value, hasValue := strings.Cut(text, "=")
		_, err := jwt.Require(name, nil)
		switch {
		case name == "":
			err = errors.New("the form is NAME or NAME=VALUE, such as roles=reader")
		case err == nil && hasValue && value == "":
			err = errors.New("the value is empty; give it a value, or leave out '=' to accept any value")
		}
		if err != nil {
			return nil, option.Errorf(option.Flag, "{require-claim} number %d: %w", n+1, err)
		}
		values := required[name]
		if hasValue {
			values = append(values, value)
		}
		required[name] = values
	}
	return required, nil
}
