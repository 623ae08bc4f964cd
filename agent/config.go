package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/podaccount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// DaprTokenEnv is the name of the environment variable from which daprd and the app
// read the app API token (https://docs.dapr.io/operations/security/app-api-token/).
// The variable with the suffix "_FILE" holds the path of the token file instead.
//
//nolint:gosec // the name of a variable, not a token
const DaprTokenEnv = "APP_API_TOKEN"

// minPoll is the shortest poll interval; a shorter one would keep a core busy.
const minPoll = 10 * time.Millisecond

// The defaults of Config.Overlap and Config.MaxOverlap.
const (
	DefaultOverlap    = 15 * time.Minute
	DefaultMaxOverlap = 24 * time.Hour
)

// A Config configures an Agent: its sources and how tokens rotate. The zero Config
// reads the file whose path is in the environment variable APP_API_TOKEN_FILE, or the
// token in APP_API_TOKEN. If both variables are set, or neither is, Start fails.
type Config struct {
	// TokenFile is the path of a token file, or of a directory such as a mounted
	// Kubernetes Secret. If the first successful read finds a file, a later
	// directory at the path is an error, and vice versa.
	TokenFile string
	// TokenEnv is the name of the environment variable that holds the token. Other
	// processes cannot change the environment of this one, so the Agent reads the
	// variable only in Start and Reload. With EnvFile, TokenEnv is a key of that file.
	TokenEnv string
	// EnvFile is the path of a file of KEY=value lines. TokenEnv names the key that
	// holds the token; if TokenEnv is "", the key is APP_API_TOKEN.
	EnvFile string

	// Issuers are the issuers whose signed tokens are accepted. If there are any, Start
	// does not look for a token source in the environment.
	Issuers []Issuer
	// JWTCache is the number of verified signed tokens that the Agent caches, for all
	// Issuers together. The signature of a cached token is not checked again. 0 means
	// 4,096; a negative JWTCache turns the cache off.
	JWTCache int

	// Name is the name of the token source in metrics, logs and Principals: at most
	// 63 letters, digits, '.', '_' and '-'. "" means "token".
	Name string
	// AllowClients lists the named clients whose shared tokens are accepted; a shared token
	// of another client, or without a name, is refused as invalid. AllowClients does not
	// restrict signed tokens; Issuer.JWT does. If it is empty, every client is allowed.
	AllowClients []string
	// Overlap is how long a superseded token stays accepted after its last use. 0
	// means DefaultOverlap. If Overlap is negative, a superseded token is refused at
	// once.
	Overlap time.Duration
	// MaxOverlap is the longest time after the switch that a superseded token stays
	// accepted, however often it is used. The old token stays accepted until the
	// first accepted use of the new token. Then Overlap begins, and each accepted use
	// of the old token renews Overlap, to within a second. This lets senders switch
	// when they restart, as daprd does. MaxOverlap must be at least Overlap. 0 means
	// DefaultMaxOverlap, or Overlap if that is longer. If MaxOverlap is negative, the
	// old token is refused Overlap after the switch, whether it is used or not.
	MaxOverlap time.Duration
	// StateFile is the path of a file in which the Agent saves the SHA-256 of
	// superseded tokens, their deadlines, and revocations, so that a restart during a
	// rotation loses none of them. The file is as sensitive as the token: the Agent
	// uses only a regular file with mode 0600 that belongs to its user, in a directory
	// that others cannot write. If that directory does not exist, the Agent creates
	// it, but no parent. If the file is unusable, the Agent starts without the old
	// tokens; the error is logged and shown in Status. Agents with different sources
	// need different files. "" means none: a restart forgets.
	StateFile string
	// MinTokenBytes is the length in bytes of the shortest accepted token. 0 means
	// 16.
	MinTokenBytes int
	// WaitForSource lets Start succeed if a source cannot be read or is invalid. Until
	// the source is loaded, Ready returns false and Verify returns
	// [verify.ErrUnavailable]. Issuer.WaitForSource does so for one Issuer, without which
	// the Agent can be ready.
	WaitForSource bool

	// Poll is the interval at which the Agent reads its sources without a file system
	// event. 0 means 10 s. If Poll is negative, the Agent does not poll. A positive
	// Poll must be at least 10 ms.
	Poll time.Duration
	// Debounce is how long a file that was written in place must stay unchanged
	// before the Agent accepts its content. 0 means 1 s. If Debounce is negative, the
	// Agent accepts the content at once.
	Debounce time.Duration
	// PollOnly turns file system events off, for file systems that send none. The
	// Agent then notices a change after at most Poll plus Debounce.
	PollOnly bool

	// Watcher watches the files. Several Agents can share one Watcher and so one
	// inotify instance; Linux allows 128 for each user by default (inotify(7)). nil
	// means a Watcher of the Agent's own. With PollOnly, Watcher is not used.
	Watcher *reload.Watcher
	// From is the Snapshot of another Agent. The new Agent starts with its
	// revocations, its retirements, and its superseded credentials with their
	// deadlines, even if the new Agent reads another source. Superseded keys only verify
	// tokens of the issuer that they belonged to. [Agent.Merge] describes how to replace
	// an Agent while requests arrive. With WaitForSource, if the source
	// cannot be read, the new Agent accepts what the other Agent accepted. nil means
	// none.
	//
	// If From is set, Start does not read StateFile. If both Agents have the same
	// StateFile, the new Agent writes it after Merge, or after the other Agent is
	// closed.
	From *Snapshot

	// Logger logs changes and errors. nil means [slog.Default]. The Agent logs
	// fingerprints (the first 8 hex digits of a SHA-256), never a token.
	Logger *slog.Logger
}

// resolved is a valid Config with its defaults and its sources.
type resolved struct {
	Config
	tokens *sourceSpec   // nil if there is no token source
	keys   []*sourceSpec // one for each issuer
	window rotation.Window
}

// A sourceSpec describes a source of tokens or keys.
type sourceSpec struct {
	name         string
	kind         string // for tokens: file, env file or env; for keys: a kind below
	location     string
	identity     string // location with an absolute path
	source       reload.Source
	remote       *jwks.RemoteSource // source, if it is a server; else nil
	watched      bool
	secretFiles  []string // of a directory: the files that may hold secrets, as patterns
	allowClients []string // the clients whose tokens are accepted; none means all
	method       string   // the method of the Principals that the source verifies
	window       rotation.Window
	issuer       Issuer             // of a key source
	account      podaccount.Account // of an Issuer with Kubernetes
	// showsRefusals is true for one source of each method. It counts the refusals of all
	// sources of the method, because a refused token belongs to no source.
	showsRefusals bool
}

// The kinds of key sources.
const (
	kindKeyFile    = "key file"
	kindJWKSURL    = "jwks url"
	kindFound      = "discovery"
	kindKubernetes = "kubernetes"
)

// nameIn returns the name of the source for error messages about its content c.
func (s *sourceSpec) nameIn(c reload.Content) string { return cmp.Or(c.Path, s.location) }

// shown returns the location for people: of discovered keys the URL in use.
func (s *sourceSpec) shown() string {
	if s.remote != nil {
		return s.remote.String()
	}
	return s.location
}

// badName is the error about a name that is not in the form of [rotation.ValidClient].
const badName = " must be letters, digits, '.', '_' or '-', at most 63, and begin with a letter or digit"

var envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate returns an error that lists everything that is wrong with c, or nil. It does
// not read the sources of credentials. Start calls it, too.
func (c Config) Validate() error {
	_, err := c.resolve()
	return err
}

// resolve returns c with its defaults and sources. The error lists everything that
// is wrong with c.
func (c Config) resolve() (*resolved, error) {
	var errs *multierror.Error
	addError := func(format string, args ...any) {
		errs = multierror.Append(errs, option.Errorf(option.Field, format, args...))
	}
	r := &resolved{Config: c}
	r.Name = cmp.Or(c.Name, "token")
	if !rotation.ValidClient(r.Name) {
		addError("{name}" + badName)
	}
	switch {
	case c.Overlap == 0:
		r.window.Overlap = DefaultOverlap
	case c.Overlap > 0:
		r.window.Overlap = c.Overlap
	}
	switch {
	case c.MaxOverlap == 0 && r.window.Overlap > 0:
		r.window.MaxOverlap = max(DefaultMaxOverlap, r.window.Overlap)
	case c.MaxOverlap > 0 && r.window.Overlap == 0:
		addError("{max-overlap} needs {overlap}, but {overlap} is none; leave {max-overlap} out")
	case c.MaxOverlap > 0 && c.MaxOverlap < r.window.Overlap:
		addError("{max-overlap} (%s) is shorter than {overlap} (%s); make it at least as long", c.MaxOverlap, r.window.Overlap)
	case c.MaxOverlap > 0:
		r.window.MaxOverlap = c.MaxOverlap
	}
	if c.MinTokenBytes < 0 {
		addError("{min-token-bytes} is negative; 0 means %d", token.DefaultMinBytes)
	}
	if c.Poll > 0 && c.Poll < minPoll {
		addError("{poll-interval} is shorter than %s; file system events report changes sooner", minPoll)
	}
	if c.Poll < 0 && c.PollOnly {
		addError("{poll-only} with a negative {poll-interval} would never notice a change; give {poll-interval} or leave {poll-only} out")
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	for _, find := range []func() error{r.findKeys, r.findTokens, r.checkStateFile} {
		if err := find(); err != nil {
			errs = multierror.Append(errs, err)
		}
	}
	if errs != nil {
		errs.ErrorFormat = option.OneLine
		return nil, fmt.Errorf("agent: %w", errs)
	}
	return r, nil
}

// findKeys sets r.keys from the issuers.
func (r *resolved) findKeys() error {
	var errs *multierror.Error
	only := len(r.Issuers) == 1
	names, issuers, trustDomains, missing, cluster := make(map[string]int), make(map[string]int), make(map[string]int), 0, 0
	for i, iss := range r.Issuers {
		if only {
			iss.Name = cmp.Or(iss.Name, "keys")
		}
		spec, invalid := r.keySource(iss)
		r.keys = append(r.keys, spec)
		addError := func(format string, args ...any) {
			invalid = multierror.Append(invalid, option.Errorf(option.Field, format, args...))
		}
		if iss.Name == r.Name {
			addError("{name} and {key-name} are the same; metrics could not distinguish the two sources")
		}
		if other := names[iss.Name]; other > 0 && iss.Name != "" {
			addError("{key-name} is the same as that of issuer %d; metrics could not distinguish the two sources", other)
		}
		if other := issuers[iss.JWT.Issuer]; other > 0 && iss.JWT.Issuer != "" {
			addError("{issuer} is the same as that of issuer %d; the iss of a token could not tell whose keys verify it", other)
		}
		if other := trustDomains[iss.JWT.TrustDomain]; other > 0 && iss.JWT.TrustDomain != "" {
			addError("{trust-domain} is the same as that of issuer %d; the sub of a token could not tell whose keys verify it", other)
		}
		if iss.JWT.AllowMissingIssuer && iss.JWT.TrustDomain == "" {
			if missing > 0 {
				addError("{allow-missing-issuer} is also set for issuer %d; a token without iss could not tell whose keys verify it", missing)
			}
			missing = i + 1
		}
		if iss.Kubernetes && iss.JWT.Issuer == "" {
			if cluster > 0 {
				addError("{kubernetes} is also set for issuer %d, and neither has {issuer}; the iss of a token could not tell which applies", cluster)
			}
			cluster = i + 1
		}
		for _, err := range invalid.WrappedErrors() {
			errs = multierror.Append(errs, &option.IssuerError{Number: i + 1, Only: only, Err: err})
		}
		names[iss.Name], issuers[iss.JWT.Issuer], trustDomains[iss.JWT.TrustDomain] = i+1, i+1, i+1
	}
	return errs.ErrorOrNil()
}

// keySource returns the source of the keys of iss. The error lists everything that is
// wrong with iss.
func (r *resolved) keySource(iss Issuer) (*sourceSpec, *multierror.Error) {
	s := &sourceSpec{name: iss.Name, issuer: iss, window: r.window, method: verify.MethodJWT, showsRefusals: len(r.keys) == 0}
	s.secretFiles = []string{jwks.KeyJWKS, jwks.KeyCurrent, jwks.KeyNext, jwks.KeyPrevious}
	var errs *multierror.Error
	if !rotation.ValidClient(iss.Name) {
		errs = multierror.Append(errs, option.Errorf(option.Field, "{key-name}"+badName))
	}
	if iss.TokenReview && !iss.Kubernetes {
		errs = multierror.Append(errs, option.Errorf(option.Field, "{token-review} needs {kubernetes}, whose API server it asks; set both or none"))
	}
	switch {
	case iss.Kubernetes:
		if err := s.findCluster(r.Logger); err != nil {
			errs = multierror.Append(errs, err)
		}
	case iss.KeyFile != "" && iss.JWKSURL != "":
		errs = multierror.Append(errs, option.Errorf(option.Field, "{key-file} and {jwks-url} are both set; one source is meant: leave one empty"))
	case iss.KeyFile != "":
		s.source, s.watched = reload.Path(iss.KeyFile, jwks.KeyNames()...), true
		s.kind, s.location, s.identity = kindKeyFile, iss.KeyFile, absolute(iss.KeyFile)
	case iss.JWKSURL != "":
		remote, err := jwks.Remote(iss.JWKSURL, iss.JWKS.options(iss.KeyAlgorithm, iss.JWT.TrustDomain, r.Logger))
		if err != nil {
			errs = multierror.Append(errs, err)
			break
		}
		s.source, s.remote = remote, remote
		s.kind, s.location, s.identity = kindJWKSURL, remote.String(), remote.String()
	case strings.Contains(iss.JWT.Issuer, "://"):
		remote, err := jwks.Discover(iss.JWT.Issuer, iss.JWKS.options(iss.KeyAlgorithm, iss.JWT.TrustDomain, r.Logger))
		if err != nil {
			errs = multierror.Append(errs, err)
			break
		}
		s.source, s.remote = remote, remote
		s.kind, s.location, s.identity = kindFound, remote.String(), iss.JWT.Issuer
	default:
		errs = multierror.Append(errs, option.Errorf(option.Field, "no keys; set {key-file} or {jwks-url}, or {kubernetes} in a pod, or give {issuer} as the https URL of an issuer that publishes where its keys are"))
	}
	rules := s.rules()
	if iss.Kubernetes && s.remote == nil { // the error about that is enough
		rules.AllowMissingIssuer = true
	}
	if err := rules.Validate(); err != nil {
		errs = multierror.Append(errs, err)
	}
	return s, errs
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// findTokens sets r.tokens from the configuration or the environment.
func (r *resolved) findTokens() error {
	c := r.Config
	if c.TokenFile == "" && c.EnvFile == "" && c.TokenEnv == "" {
		switch {
		case len(c.Issuers) > 0 && len(c.AllowClients) > 0:
			return option.Errorf(option.Field, "{allow-client} restricts shared tokens, and no source of them is configured; use {require-claim} for signed tokens")
		case len(c.Issuers) > 0:
			return nil
		}
		var err error
		if c.TokenFile, c.TokenEnv, err = findInEnvironment(); err != nil {
			return err
		}
	}
	s := &sourceSpec{name: r.Name, window: r.window, method: verify.MethodToken, watched: true, showsRefusals: true}
	s.secretFiles = []string{token.FileCurrent, token.FileNext, token.FilePrevious, token.FileCurrent + ".*", token.FileNext + ".*", token.FilePrevious + ".*"}
	for _, client := range c.AllowClients {
		if !rotation.ValidClient(client) {
			return option.Errorf(option.Field, "{allow-client}: "+rotation.ClientRule)
		}
	}
	s.allowClients = c.AllowClients
	switch {
	case c.TokenFile != "" && c.TokenEnv != "":
		return option.Errorf(option.Field, "{token-file} and {token-env} are both set; one source is meant: leave one empty")
	case c.TokenFile != "" && c.EnvFile != "":
		return option.Errorf(option.Field, "{token-file} and {env-file} are both set; one source is meant: leave one empty")
	case c.TokenFile != "":
		s.kind, s.location, s.identity = "file", c.TokenFile, absolute(c.TokenFile)
		s.source = reload.Path(c.TokenFile, token.FileNames()...)
	case c.TokenEnv != "" && !envPattern.MatchString(c.TokenEnv):
		// The error does not quote TokenEnv: it may be a token that a shell expanded.
		return option.Errorf(option.Field, "{token-env} is not the name of an environment variable, which has letters, digits and '_' and does not begin with a digit; give the name, not the value")
	case c.EnvFile != "":
		name := cmp.Or(c.TokenEnv, DaprTokenEnv)
		s.kind, s.location, s.identity = "env file", c.EnvFile, absolute(c.EnvFile)+" "+fmt.Sprint(reload.Env(name))
		s.source = reload.EnvFile(c.EnvFile, name)
	default:
		s.source = reload.Env(c.TokenEnv)
		shown := fmt.Sprint(s.source) // does not show a token in place of the name
		s.kind, s.location, s.identity, s.watched = "env", shown, shown, false
	}
	r.tokens = s
	return nil
}

// findInEnvironment returns the token file, or the variable with the token, that the
// environment variables of Dapr name.
func findInEnvironment() (tokenFile, tokenEnv string, err error) {
	path, hasFile := os.LookupEnv(DaprTokenEnv + "_FILE")
	_, hasToken := os.LookupEnv(DaprTokenEnv)
	switch {
	case hasFile && hasToken:
		return "", "", option.Errorf(option.Field, "no source configured, and the environment has both "+DaprTokenEnv+"_FILE and "+DaprTokenEnv+"; unset one")
	case hasFile && path == "":
		return "", "", option.Errorf(option.Field, "no source configured, and "+DaprTokenEnv+"_FILE is empty; give it the path of the token file")
	case hasFile:
		return path, "", nil
	case hasToken:
		return "", DaprTokenEnv, nil
	default:
		return "", "", option.Errorf(option.Field, "no source; set {token-file}, {env-file} or {token-env}, or the environment variable "+DaprTokenEnv+"_FILE or "+DaprTokenEnv)
	}
}

// checkStateFile returns an error if StateFile is a directory, a source, or a file in a
// source directory. It makes StateFile absolute, so that a later chdir does not change it.
func (r *resolved) checkStateFile() error {
	if r.StateFile == "" {
		return nil
	}
	info, err := os.Stat(r.StateFile)
	if err == nil && info.IsDir() || strings.HasSuffix(r.StateFile, string(filepath.Separator)) {
		return option.Errorf(option.Field, "{state-file} is a directory; name a file in it")
	}
	r.StateFile = absolute(r.StateFile)
	for _, s := range append([]*sourceSpec{r.tokens}, r.keys...) {
		if s == nil || !s.watched {
			continue
		}
		switch path, err := filepath.Rel(resolveSymlinks(absolute(s.location)), resolveSymlinks(r.StateFile)); {
		case err != nil:
		case path == ".":
			return option.Errorf(option.Field, "{state-file} is the source %s itself; give it a path of its own", s.location)
		case filepath.IsLocal(path):
			return option.Errorf(option.Field, "{state-file} lies in the source directory %s; give it a path outside", s.location)
		}
	}
	return nil
}

// resolveSymlinks resolves the symbolic links in the part of path that exists.
func resolveSymlinks(path string) string {
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(resolveSymlinks(dir), filepath.Base(path))
	}
	return path
}

// warnAboutSDKs logs a warning if APP_API_TOKEN is set in the environment but is not
// the token source. Dapr SDKs read the variable once and check the token themselves
// (https://docs.dapr.io/operations/security/app-api-token/), so they refuse the new
// token after a rotation.
func (r *resolved) warnAboutSDKs() {
	isSource := r.tokens != nil && r.tokens.kind == "env" && r.tokens.location == DaprTokenEnv
	if os.Getenv(DaprTokenEnv) == "" || isSource {
		return
	}
	r.Logger.Warn(DaprTokenEnv+" is set in the environment and is not the source; a Dapr SDK in the app reads it once"+
		" and checks the token again, so it refuses the new one after a rotation; unset it in the app's environment",
		"variable", DaprTokenEnv)
}
