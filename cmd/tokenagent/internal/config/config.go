// Package config reads the configuration of realms: where tokens and keys are and how
// they rotate. Flags and the YAML of a file of realms fill the same Realm through one
// table, Fields, and Validate checks it.
package config

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A Realm is the configuration of one realm, or of a command without realms.
type Realm struct {
	Name     string // only in a file of realms
	Hosts    []string
	Headers  []string
	Source   Source
	Keys     Keys
	Rotation Rotation
	// Given holds the names of the settings that were given explicitly, with their
	// line in the file of realms, or 0 for a flag. Environment variables do not count:
	// they may be meant for another command.
	Given map[string]int
}

// A Source says where the tokens are.
type Source struct {
	TokenFile, TokenEnv, EnvFile, Name string
	MinTokenBytes                      int
}

// Given reports whether a source is named.
func (s *Source) Given() bool { return s.TokenFile != "" || s.TokenEnv != "" || s.EnvFile != "" }

// Keys says where verification keys are, and which signed tokens are accepted by them.
type Keys struct {
	File, URL, Name                             string
	CAFile, BearerFile                          string
	Issuer, KeyAlgorithm                        string
	Audiences, Algorithms, Types, RequireClaims []string
	Leeway, MaxStale                            time.Duration
	Cache                                       int
}

// Given reports whether there is a key source.
func (k *Keys) Given() bool { return k.File != "" || k.URL != "" }

// Rotation says how sources are read, and how long what they replace is accepted.
type Rotation struct {
	Overlap, MaxOverlap, Poll, Debounce time.Duration
	StateFile                           string
	Wait                                bool
}

// Defaults returns a Realm in which nothing is given.
func Defaults() Realm {
	return Realm{
		Source:   Source{Name: "token", MinTokenBytes: token.DefaultMinBytes},
		Keys:     Keys{Name: "keys", Leeway: jwt.DefaultLeeway, Cache: jwt.DefaultCacheSize},
		Rotation: Rotation{Overlap: agent.DefaultOverlap, Poll: 10 * time.Second, Debounce: time.Second},
		Given:    make(map[string]int),
	}
}

// Agent returns the agent's configuration. r is valid.
func (r *Realm) Agent(log *slog.Logger) agent.Config {
	cfg := agent.Config{
		Name: r.Source.Name, TokenFile: r.Source.TokenFile, TokenEnv: r.Source.TokenEnv, EnvFile: r.Source.EnvFile,
		MinTokenBytes: r.Source.MinTokenBytes,
		Overlap:       orNone(r.Rotation.Overlap), MaxOverlap: r.Rotation.MaxOverlap,
		Poll: orNone(r.Rotation.Poll), Debounce: orNone(r.Rotation.Debounce),
		StateFile: r.Rotation.StateFile, WaitForSource: r.Rotation.Wait, Logger: log,
	}
	if k := &r.Keys; k.Given() {
		cfg.KeyFile, cfg.JWKSURL, cfg.KeyName, cfg.KeyAlgorithm = k.File, k.URL, k.Name, k.KeyAlgorithm
		cfg.JWT = agent.JWT{
			Issuer: k.Issuer, Audiences: k.Audiences, Algorithms: k.Algorithms, Types: k.Types,
			Leeway: orNone(k.Leeway), CacheSize: orNone(k.Cache),
		}
		cfg.JWT.RequiredClaims, _ = k.required()
		if k.URL != "" {
			cfg.JWKS = agent.JWKS{MaxStale: k.MaxStale, CAFile: k.CAFile, BearerFile: k.BearerFile}
		}
	}
	return cfg
}

// orNone turns a setting into a field of agent.Config, where 0 means the default and
// a negative value none. Outside 0 means none.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// required returns the accepted values of each claim that RequireClaims names.
func (k *Keys) required() (map[string][]string, error) {
	required := make(map[string][]string)
	for i, text := range k.RequireClaims {
		name, value, valued := strings.Cut(text, "=")
		_, err := claims.Require(name, nil)
		switch {
		case name == "":
			err = errors.New("the form is NAME or NAME=VALUE, such as roles=reader")
		case err == nil && valued && value == "":
			err = errors.New("the value is empty; give it one, or leave the '=' out where any value will do")
		}
		if err != nil {
			return nil, option.Errorf(option.Flag, "{require-claim} number %d: %w", i+1, err)
		}
		values := required[name]
		if valued {
			values = append(values, value)
		}
		required[name] = values
	}
	return required, nil
}
