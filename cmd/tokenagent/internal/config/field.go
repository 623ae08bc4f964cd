package config

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// A Need is the source without which a setting has no use.
type Need int

// The needs of settings.
const (
	NeedsNothing Need = iota
	NeedsTokens       // a source of tokens
	NeedsKeys         // a source of keys
	NeedsURL          // a JWKS of a server
)

func (r *Realm) has(n Need) bool {
	return n == NeedsNothing || n == NeedsTokens && r.Source.Given() || n == NeedsKeys && r.Keys.Given() || n == NeedsURL && r.Keys.URL != ""
}

// A Topic is a heading of help. A command has the flags of whole topics.
type Topic string

// The topics of settings.
const (
	Tokens  Topic = "Source"
	Signed  Topic = "Signed tokens"
	Reading Topic = "Reading the source"
	Overlap Topic = "Overlap"
	Request Topic = "Requests"
	NoFlag  Topic = "" // only in a file of realms
)

// A Field is one setting: a flag, a key in a file of realms, or both.
type Field struct {
	Name     string
	Topic    Topic
	List     bool // it takes several values
	Own      bool // it cannot be in the defaults of a file
	FlagOnly bool
	Path     bool // its value is a path
	Needs    Need
	Usage    string
	Form     func(string) (string, error) // checks and normalizes a value in a file; nil takes any
	At       func(*Realm) any             // returns a pointer to its value
}

// Fields are all settings.
var Fields = []Field{ //nolint:gochecknoglobals // a constant
	{Name: "token-file", Topic: Tokens, Own: true, Path: true, Usage: "`PATH` of the token file, or of a directory such as a mounted Secret", At: func(r *Realm) any { return &r.Source.TokenFile }},
	{Name: "token-env", Topic: Tokens, Own: true, Usage: "`NAME` of the variable that holds the token, or of the key in --env-file (default APP_API_TOKEN)", At: func(r *Realm) any { return &r.Source.TokenEnv }},
	{Name: "env-file", Topic: Tokens, Own: true, Path: true, Usage: "`PATH` of a file of KEY=value lines that holds the token", At: func(r *Realm) any { return &r.Source.EnvFile }},
	{Name: "min-token-bytes", Topic: Tokens, Needs: NeedsTokens, Usage: "`BYTES` that a token must have at least", At: func(r *Realm) any { return &r.Source.MinTokenBytes }},

	{Name: "key-file", Topic: Signed, Own: true, Path: true, Usage: "`PATH` of the keys that verify signed tokens (JWKS, PEM or an HMAC secret), or of a directory of them", At: func(r *Realm) any { return &r.Keys.File }},
	{Name: "jwks-url", Topic: Signed, Own: true, Usage: "`URL` of an issuer's JWKS, instead of --key-file: https, or http on loopback", At: func(r *Realm) any { return &r.Keys.URL }},
	{Name: "jwks-ca-file", Topic: Signed, Path: true, Needs: NeedsURL, Usage: "`PATH` of the CA certificates (PEM) trusted for --jwks-url, instead of the system's", At: func(r *Realm) any { return &r.Keys.CAFile }},
	{Name: "jwks-bearer-file", Topic: Signed, Path: true, Needs: NeedsURL, Usage: "`PATH` of a bearer token that is sent only to the server of --jwks-url", At: func(r *Realm) any { return &r.Keys.BearerFile }},
	{Name: "key-name", Topic: Signed, FlagOnly: true, Needs: NeedsKeys, Usage: "`NAME` of the key source in metrics and logs", At: func(r *Realm) any { return &r.Keys.Name }},
	{Name: "issuer", Topic: Signed, Needs: NeedsKeys, Usage: "`ISS` that signed tokens must have, compared byte by byte", At: func(r *Realm) any { return &r.Keys.Issuer }},
	{Name: "audience", Topic: Signed, List: true, Needs: NeedsKeys, Usage: "`AUD` to accept; a signed token must have at least one of them; repeatable", At: func(r *Realm) any { return &r.Keys.Audiences }},
	{Name: "key-algorithm", Topic: Signed, Needs: NeedsKeys, Usage: "`ALG` of keys that name none (default: the curve's algorithm, RS256 for RSA, HS256 for a secret)", At: func(r *Realm) any { return &r.Keys.KeyAlgorithm }},
	{Name: "algorithm", Topic: Signed, List: true, Needs: NeedsKeys, Usage: "`ALG` to accept; repeatable (default: the algorithms of the keys)", At: func(r *Realm) any { return &r.Keys.Algorithms }},
	{Name: "jwt-type", Topic: Signed, List: true, Needs: NeedsKeys, Usage: "`TYP` of signed tokens to accept, such as at+jwt; repeatable (default: not checked)", At: func(r *Realm) any { return &r.Keys.Types }},
	{Name: "require-claim", Topic: Signed, List: true, Needs: NeedsKeys, Usage: "`NAME[=VALUE]` of a claim that signed tokens must have; repeatable; /a/b is a JSON Pointer", At: func(r *Realm) any { return &r.Keys.RequireClaims }},
	{Name: "leeway", Topic: Signed, Needs: NeedsKeys, Usage: "`DURATION` by which the clocks of issuer and verifier may differ, at most 10m", At: func(r *Realm) any { return &r.Keys.Leeway }},
	{Name: "jwt-cache", Topic: Signed, Needs: NeedsKeys, Usage: "`COUNT` of verified signed tokens whose signature is not checked again; 0 for none", At: func(r *Realm) any { return &r.Keys.Cache }},
	{Name: "max-stale", Topic: Signed, Needs: NeedsURL, Usage: "`DURATION` for which keys of --jwks-url stay usable after the server last confirmed them; 0s for no limit", At: func(r *Realm) any { return &r.Keys.MaxStale }},

	{Name: "overlap", Topic: Overlap, Usage: "`DURATION` for which a superseded token or key is accepted after its last use; 0s for none", At: func(r *Realm) any { return &r.Rotation.Overlap }},
	{Name: "max-overlap", Topic: Overlap, Usage: "`DURATION` after the switch when the superseded token is refused even if it is still used; negative for a fixed overlap (default 24h, or --overlap if longer)", At: func(r *Realm) any { return &r.Rotation.MaxOverlap }},
	{Name: "state-file", Topic: Overlap, Own: true, Path: true, Usage: "`PATH` of a file that keeps overlaps and revocations through a restart", At: func(r *Realm) any { return &r.Rotation.StateFile }},

	{Name: "poll-interval", Topic: Reading, Usage: "`DURATION` between two reads of a source, whatever the file system reports; 0s for never", At: func(r *Realm) any { return &r.Rotation.Poll }},
	{Name: "debounce", Topic: Reading, Usage: "`DURATION` for which a file written in place must be quiet; 0s for none", At: func(r *Realm) any { return &r.Rotation.Debounce }},
	{Name: "wait-for-source", Topic: Reading, Usage: "start even if the source has no good content, and answer 503 until it has", At: func(r *Realm) any { return &r.Rotation.Wait }},

	{Name: "header", Topic: Request, List: true, Usage: "`NAME` of the header that holds the token; repeatable, the first one present decides (default dapr-api-token, Authorization)", At: func(r *Realm) any { return &r.Headers }},
	{Name: "hosts", Topic: NoFlag, List: true, Own: true, Form: realm.CheckHost, At: func(r *Realm) any { return &r.Hosts }},
}

// AddFlags adds the flags of topics. They set r, and what r is now are their defaults.
func AddFlags(fs *pflag.FlagSet, r *Realm, topics ...Topic) {
	for _, t := range topics {
		for i := range Fields {
			if f := &Fields[i]; f.Topic == t {
				fs.AddFlag(f.flag(r))
			}
		}
		SetTopic(fs, t)
	}
}

// TopicKey is the annotation of a flag that holds its topic.
const TopicKey = "topic"

// SetTopic puts the flags that have no topic yet under t.
func SetTopic(fs *pflag.FlagSet, t Topic) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[TopicKey] == nil {
			_ = fs.SetAnnotation(f.Name, TopicKey, []string{string(t)}) // it is there
		}
	})
}

// flag returns a flag that sets f in r.
func (f *Field) flag(r *Realm) *pflag.Flag {
	var fs pflag.FlagSet
	switch p := f.At(r).(type) {
	case *string:
		fs.StringVar(p, f.Name, *p, f.Usage)
	case *[]string:
		fs.StringArrayVar(p, f.Name, *p, f.Usage)
	case *int:
		fs.IntVar(p, f.Name, *p, f.Usage)
	case *bool:
		fs.BoolVar(p, f.Name, *p, f.Usage)
	case *time.Duration:
		fs.DurationVar(p, f.Name, *p, f.Usage)
	}
	return fs.Lookup(f.Name)
}

// RealmKeys returns the names of the settings of a realm in a file, sorted.
func RealmKeys() (names []string) {
	for i := range Fields {
		if !Fields[i].FlagOnly {
			names = append(names, Fields[i].Name)
		}
	}
	slices.Sort(names)
	return names
}
