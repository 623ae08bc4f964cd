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
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A Realm holds the settings of one realm, or of a command without realms, as users write
// them: 0 means none. [Realm.AgentConfig] returns the settings of the agent as the agent
// reads them.
type Realm struct {
	realm.Spec

	RequireClaims []string // each NAME or NAME=VALUE
	// Given maps the names of the settings that were given explicitly to their line in
	// the file of realms, or to 0 for a flag. Settings from environment variables are not
	// in it: a variable may be meant for another command.
	Given map[string]int
}

// Defaults returns a Realm with the default of every setting.
func Defaults() Realm {
	return Realm{
		Spec: realm.Spec{Config: agent.Config{
			Name: "token", MinTokenBytes: token.DefaultMinBytes,
			KeyName: "keys", JWT: agent.JWT{Leeway: jwt.DefaultLeeway, CacheSize: jwt.DefaultCacheSize},
			Overlap: agent.DefaultOverlap, Poll: 10 * time.Second, Debounce: time.Second,
		}},
		Given: make(map[string]int),
	}
}

// HasTokens reports whether a token source is named.
func (r *Realm) HasTokens() bool {
	return r.Config.TokenFile != "" || r.Config.TokenEnv != "" || r.Config.EnvFile != ""
}

// HasKeys reports whether a key source is named.
func (r *Realm) HasKeys() bool { return r.Config.KeyFile != "" || r.Config.JWKSURL != "" }

// AgentConfig returns the configuration of the agent. For [Check], an issuer and an
// audience that are not given are ones that no token has (RFC 2606 section 2), because the
// agent requires both.
func (r *Realm) AgentConfig(use Use, log *slog.Logger) agent.Config {
	cfg := r.Config
	cfg.Logger = log
	if use == Check {
		const placeholder = "https://issuer.invalid"
		cfg.JWT.Issuer = cmp.Or(cfg.JWT.Issuer, placeholder)
		if len(cfg.JWT.Audiences) == 0 {
			cfg.JWT.Audiences = []string{placeholder}
		}
	}
	cfg.JWT.RequiredClaims, _ = r.requiredClaims()
	// For the agent 0 means the default, and a negative value none.
	for _, d := range []*time.Duration{&cfg.Overlap, &cfg.Poll, &cfg.Debounce, &cfg.JWT.Leeway} {
		if *d == 0 {
			*d = -1
		}
	}
	if cfg.JWT.CacheSize == 0 {
		cfg.JWT.CacheSize = -1
	}
	if !r.HasKeys() { // these settings came from environment variables for another command
		cfg.KeyName, cfg.KeyAlgorithm, cfg.JWT = "", "", agent.JWT{}
	}
	if cfg.JWKSURL == "" {
		cfg.JWKS = agent.JWKS{}
	}
	return cfg
}

// requiredClaims returns the accepted values of each claim that RequireClaims names.
func (r *Realm) requiredClaims() (map[string][]string, error) {
	required := make(map[string][]string)
	for i, text := range r.RequireClaims {
		name, value, hasValue := strings.Cut(text, "=")
		_, err := jwt.Require(name, nil)
		switch {
		case name == "":
			err = errors.New("the form is NAME or NAME=VALUE, such as roles=reader")
		case err == nil && hasValue && value == "":
			err = errors.New("the value is empty; give it a value, or leave out '=' to accept any value")
		}
		if err != nil {
			return nil, option.Errorf(option.Flag, "{require-claim} number %d: %w", i+1, err)
		}
		values := required[name]
		if hasValue {
			values = append(values, value)
		}
		required[name] = values
	}
	return required, nil
}
