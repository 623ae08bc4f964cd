package config

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// A Need is the key source that a setting belongs to.
type Need int

// The key sources.
const (
	NeedsNothing    Need = iota
	NeedsKeys            // --key-file, --jwks-url, --kubernetes, or an --issuer that is an https URL
	NeedsURL             // the same without --key-file
	NeedsKubernetes      // --kubernetes
)

// has reports whether r has the key source that f belongs to.
func (r *Realm) has(f Field) bool {
	if f.Needs == NeedsKeys && !f.OfIssuer {
		return r.HasKeys()
	}
	return r.Issuer.has(f.Needs)
}

func (i *Issuer) has(n Need) bool {
	return n == NeedsNothing || n == NeedsKeys && i.hasKeys() || n == NeedsURL && i.hasServer() || i.Kubernetes
}

// takesDefault reports whether a default of f applies to r.
func (r *Realm) takesDefault(f Field) bool {
	i := &r.Issuer
	switch f.Name {
	case "jwks-ca-file": // the CA of a cluster's API server comes from the pod's service account
		return r.has(f) && !i.Kubernetes
	case "issuer": // clusters and trust domains have names of their own
		return i.KeyFile+i.JWKSURL != "" && i.JWT.TrustDomain == ""
	}
	return r.has(f)
}

// A Topic is a heading in the help. A command takes all flags of a topic, or none.
type Topic string

// The topics, in the order of the help.
const (
	Tokens  Topic = "Source"
	Signed  Topic = "Signed tokens"
	Reading Topic = "Reading the source"
	Overlap Topic = "Overlap"
	Request Topic = "Requests"
	NoFlag  Topic = "" // settings of a file of realms only
)

// A Field describes one setting: a flag, a key in a file of realms, or both. A field
// OfIssuer is also a key of each entry of issuers.
type Field struct {
	Name       string
	Topic      Topic
	IsList     bool
	OfIssuer   bool
	PerRealm   bool // not allowed in the defaults of a file of realms
	FlagOnly   bool
	EntryOnly  bool // a key of the entries of issuers, and neither a flag nor a key of realms
	IsPath     bool
	Needs      Need
	Usage      string
	CheckValue func(string) (string, error) // normalizes a value in a file; nil accepts any
	Pointer    func(*Realm) any             // returns a pointer to the value in a Realm
}

// Fields are all settings.
var Fields = []Field{ //nolint:gochecknoglobals // a constant
	{Name: "token-file", Topic: Tokens, PerRealm: true, IsPath: true, Usage: "`PATH` of the token file, or of a directory such as a mounted Secret", Pointer: func(r *Realm) any { return &r.Config.TokenFile }},
	{Name: "token-env", Topic: Tokens, PerRealm: true, Usage: "`NAME` of the variable that holds the token, or of the key in --env-file (default APP_API_TOKEN)", Pointer: func(r *Realm) any { return &r.Config.TokenEnv }},
	{Name: "env-file", Topic: Tokens, PerRealm: true, IsPath: true, Usage: "`PATH` of a file of KEY=value lines that holds the token", Pointer: func(r *Realm) any { return &r.Config.EnvFile }},
	{Name: "allow-client", Topic: Tokens, IsList: true, PerRealm: true, Usage: "`NAME` of a client whose tokens are accepted; repeatable (default: every client)", Pointer: func(r *Realm) any { return &r.Config.AllowClients }},
	{Name: "min-token-bytes", Topic: Tokens, Usage: "`BYTES` that a token must have at least", Pointer: func(r *Realm) any { return &r.Config.MinTokenBytes }},

	{Name: "key-file", Topic: Signed, OfIssuer: true, PerRealm: true, IsPath: true, Usage: "`PATH` of the keys that verify signed tokens (JWKS, PEM or an HMAC secret), or of a directory of them", Pointer: func(r *Realm) any { return &r.Issuer.KeyFile }},
	{Name: "jwks-url", Topic: Signed, OfIssuer: true, PerRealm: true, Usage: "`URL` of an issuer's JWKS, instead of --key-file: https, or http on loopback (default: discovered, if --issuer is such a URL)", Pointer: func(r *Realm) any { return &r.Issuer.JWKSURL }},
	{Name: "kubernetes", Topic: Signed, OfIssuer: true, PerRealm: true, Usage: "accept service account tokens of the Kubernetes cluster that this pod runs in; --issuer is then optional", Pointer: func(r *Realm) any { return &r.Issuer.Kubernetes }},
	{Name: "token-review", Topic: Signed, OfIssuer: true, Needs: NeedsKubernetes, Usage: "ask the API server every 10 s whether the pod and the service account of a token still exist", Pointer: func(r *Realm) any { return &r.Issuer.TokenReview }},
	{Name: "jwks-ca-file", Topic: Signed, OfIssuer: true, IsPath: true, Needs: NeedsURL, Usage: "`PATH` of the CA certificates (PEM) trusted for the server of the keys, instead of the system's", Pointer: func(r *Realm) any { return &r.Issuer.JWKS.CAFile }},
	{Name: "jwks-bearer-file", Topic: Signed, OfIssuer: true, PerRealm: true, IsPath: true, Needs: NeedsURL, Usage: "`PATH` of a bearer token that is sent only to the server of --jwks-url or, without it, of --issuer", Pointer: func(r *Realm) any { return &r.Issuer.JWKS.BearerFile }},
	{Name: "key-name", Topic: Signed, FlagOnly: true, Needs: NeedsKeys, Usage: "`NAME` of the key source in metrics and logs", Pointer: func(r *Realm) any { return &r.Issuer.Name }},
	{Name: "issuer", Topic: Signed, OfIssuer: true, Needs: NeedsKeys, Usage: "`ISS` that signed tokens must have, compared byte by byte; an https URL suffices to find the keys", Pointer: func(r *Realm) any { return &r.Issuer.JWT.Issuer }},
	{Name: "allow-missing-issuer", Topic: Signed, OfIssuer: true, Needs: NeedsKeys, Usage: "also accept signed tokens without iss; --issuer is then optional", Pointer: func(r *Realm) any { return &r.Issuer.JWT.AllowMissingIssuer }},
	{Name: "trust-domain", Topic: Signed, OfIssuer: true, PerRealm: true, Needs: NeedsKeys, Usage: "`NAME` of a SPIFFE trust domain: accept only its JWT-SVIDs; --issuer is then optional", Pointer: func(r *Realm) any { return &r.Issuer.JWT.TrustDomain }},
	{Name: "audience", Topic: Signed, OfIssuer: true, IsList: true, Needs: NeedsKeys, Usage: "`AUD` to accept; a signed token must have at least one of them; repeatable", Pointer: func(r *Realm) any { return &r.Issuer.JWT.Audiences }},
	{Name: "key-algorithm", Topic: Signed, OfIssuer: true, Needs: NeedsKeys, Usage: "`ALG` of keys that name none (default: the curve's algorithm, RS256 for RSA, HS256 for a secret)", Pointer: func(r *Realm) any { return &r.Issuer.KeyAlgorithm }},
	{Name: "algorithm", Topic: Signed, OfIssuer: true, IsList: true, Needs: NeedsKeys, Usage: "`ALG` to accept; repeatable (default: the algorithms of the keys)", Pointer: func(r *Realm) any { return &r.Issuer.JWT.Algorithms }},
	{Name: "jwt-type", Topic: Signed, OfIssuer: true, IsList: true, Needs: NeedsKeys, Usage: "`TYP` of signed tokens to accept, such as at+jwt; repeatable (default: not checked)", Pointer: func(r *Realm) any { return &r.Issuer.JWT.Types }},
	{Name: "require-claim", Topic: Signed, OfIssuer: true, IsList: true, Needs: NeedsKeys, Usage: "`NAME[=VALUE]` of a claim that signed tokens must have; repeatable; /a/b is a JSON Pointer", Pointer: func(r *Realm) any { return &r.Issuer.RequireClaims }},
	{Name: "leeway", Topic: Signed, OfIssuer: true, Needs: NeedsKeys, Usage: "`DURATION` by which the clocks of issuer and verifier may differ, at most 10m", Pointer: func(r *Realm) any { return &r.Issuer.JWT.Leeway }},
	{Name: "jwt-cache", Topic: Signed, Needs: NeedsKeys, Usage: "`COUNT` of verified signed tokens whose signature is not checked again; 0 for none", Pointer: func(r *Realm) any { return &r.Config.JWTCache }},
	{Name: "max-stale", Topic: Signed, OfIssuer: true, Needs: NeedsURL, Usage: "`DURATION` for which keys of a server stay usable after the server last confirmed them; 0s for no limit", Pointer: func(r *Realm) any { return &r.Issuer.JWKS.MaxStale }},

	{Name: "overlap", Topic: Overlap, Usage: "`DURATION` for which a superseded token or key is accepted after its last use; 0s for none", Pointer: func(r *Realm) any { return &r.Config.Overlap }},
	{Name: "max-overlap", Topic: Overlap, Usage: "`DURATION` after which a superseded token is refused even if it is still used; negative for a fixed overlap (default 24h, or --overlap if longer)", Pointer: func(r *Realm) any { return &r.Config.MaxOverlap }},
	{Name: "state-file", Topic: Overlap, PerRealm: true, IsPath: true, Usage: "`PATH` of a file that keeps overlaps and revocations through a restart", Pointer: func(r *Realm) any { return &r.Config.StateFile }},

	{Name: "poll-interval", Topic: Reading, Usage: "`DURATION` between two reads of a source without a file system event; 0s for never", Pointer: func(r *Realm) any { return &r.Config.Poll }},
	{Name: "debounce", Topic: Reading, Usage: "`DURATION` that a file written in place must stay unchanged before it is read; 0s for none", Pointer: func(r *Realm) any { return &r.Config.Debounce }},
	{Name: "wait-for-source", Topic: Reading, Usage: "start even if the source has no good content, and answer 503 until it has", Pointer: func(r *Realm) any { return &r.Config.WaitForSource }},

	{Name: "header", Topic: Request, IsList: true, Usage: "`NAME` of the header that holds the token; repeatable, the first one present decides (default dapr-api-token, Authorization)", Pointer: func(r *Realm) any { return &r.Headers }},
	{Name: "wait-for-source", Topic: NoFlag, OfIssuer: true, EntryOnly: true, Pointer: func(r *Realm) any { return &r.Issuer.WaitForSource }},
	{Name: "hosts", Topic: NoFlag, IsList: true, PerRealm: true, CheckValue: realm.CheckHost, Pointer: func(r *Realm) any { return &r.Hosts }},
	{Name: "name", Topic: NoFlag, OfIssuer: true, EntryOnly: true, Pointer: func(r *Realm) any { return &r.Issuer.Name }},
}

// AddFlags adds the flags of topics. They set r. Its present values are the defaults.
func AddFlags(fs *pflag.FlagSet, r *Realm, topics ...Topic) {
	for _, t := range topics {
		for _, f := range Fields {
			if f.Topic == t {
				fs.AddFlag(f.flag(r))
			}
		}
		SetTopic(fs, t)
	}
}

// TopicKey is the name of the flag annotation that holds the topic.
const TopicKey = "topic"

// SetTopic assigns t to all flags that have no topic yet.
func SetTopic(fs *pflag.FlagSet, t Topic) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[TopicKey] == nil {
			_ = fs.SetAnnotation(f.Name, TopicKey, []string{string(t)}) // the flag exists
		}
	})
}

// flag returns a flag that sets f in r.
func (f Field) flag(r *Realm) *pflag.Flag {
	var fs pflag.FlagSet
	switch p := f.Pointer(r).(type) {
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

// isKey reports whether f may stand in a realm, in the defaults or, if inIssuer is set, in
// an entry of issuers.
func (f Field) isKey(inIssuer bool) bool {
	if inIssuer {
		return f.OfIssuer && !f.FlagOnly
	}
	return !f.FlagOnly && !f.EntryOnly
}

// RealmKeys returns the keys that a realm in a file can have, sorted.
func RealmKeys() []string {
	names := append(keys(false), keyIssuers)
	slices.Sort(names)
	return names
}

// keys returns the names of the fields for which isKey is true, sorted.
func keys(inIssuer bool) (names []string) {
	for _, f := range Fields {
		if f.isKey(inIssuer) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}
