package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// DaprTokenEnv is the variable in which Dapr hands an app its API token
// (https://docs.dapr.io/operations/security/app-api-token/). With "_FILE"
// behind it, it names the file that holds the token.
const DaprTokenEnv = "APP_API_TOKEN" //nolint:gosec // a name

// minPoll keeps polling from becoming a loop that never rests.
const minPoll = 10 * time.Millisecond

// The default window of a superseded token: see Config.
const (
	DefaultOverlap    = 15 * time.Minute
	DefaultMaxOverlap = 24 * time.Hour
)

// A Config says where the tokens are and how they rotate. The zero Config reads the
// path in the environment variable APP_API_TOKEN_FILE, or the token in APP_API_TOKEN.
// It is an error if both are set, or neither.
type Config struct {
	// TokenFile is the path of a token file, or of a directory such as a
	// mounted Kubernetes Secret. Which of the two is fixed at the first load.
	TokenFile string
	// TokenEnv is the name of the environment variable that holds the token.
	// A process's own environment cannot change from outside: it is read at
	// Start and at Reload. With EnvFile, the key in that file.
	TokenEnv string
	// EnvFile is the path of a file of KEY=value lines, of which the one named
	// by TokenEnv holds the token; "" there means APP_API_TOKEN.
	EnvFile string

	// KeyFile is the path of the keys that verify signed tokens: a file that holds a
	// JWKS (RFC 7517), PEM or an HMAC secret, or a directory with the file jwks.json,
	// or with key and, if there is one, key-next and key-previous. With KeyFile or
	// JWKSURL, the environment is not searched for a token source.
	KeyFile string
	// JWKSURL is where an issuer publishes its keys as a JWKS, instead of KeyFile:
	// https, or http on loopback. JWKS says how the server is asked.
	JWKSURL string
	JWKS    JWKS
	// JWT says which signed tokens are accepted. Its Issuer and Audiences are
	// required with KeyFile or JWKSURL.
	JWT JWT
	// KeyAlgorithm is the algorithm of keys that name none. "" means RS256 for an RSA
	// key, that of the curve for an elliptic curve, and HS256 for a secret.
	KeyAlgorithm string

	// Name is what metrics, logs and Principals call the token source. ""
	// means "token". Letters, digits, '.', '_' and '-'.
	Name string
	// KeyName is the same for the key source. "" means "keys".
	KeyName string
	// Overlap is how long a superseded token stays accepted after its last use. 0
	// means DefaultOverlap, negative that it is refused at once.
	Overlap time.Duration
	// MaxOverlap is how long after the switch a superseded token is accepted at the
	// most, whatever its uses. Until the first accepted use of the new token the old
	// one stays accepted; then Overlap begins, and each accepted use of the old one
	// renews it, to within a second. That is for senders that change only when they
	// restart, as daprd does. It must be at least Overlap. 0 means
	// DefaultMaxOverlap, or Overlap where that is longer. Negative makes the window
	// fixed: it ends Overlap after the switch.
	MaxOverlap time.Duration
	// StateFile is the path of a file in which the Agent remembers superseded
	// tokens (by SHA-256), their deadlines and what was revoked, so that a restart
	// in the middle of a rotation changes nothing, and revokes no less. It is equal in
	// trust to the token: only a regular file of our own user with mode 0600 is
	// used, in a directory that others cannot write; that one directory is made
	// if it is not there. A file that is bad does not keep the Agent from
	// starting, without the old tokens; it is logged and shown in Status. Each
	// source needs a file of its own. "" means none: a restart forgets.
	StateFile string
	// MinTokenBytes is the shortest token accepted, in bytes. 0 means
	// [verify.DefaultMinTokenBytes].
	MinTokenBytes int
	// WaitForSource lets Start succeed without good content. Until it comes,
	// Ready is false and Verify answers [verify.ErrUnavailable].
	WaitForSource bool

	// Poll is how often the source is read again whatever the file system
	// reports. 0 means 10 s, negative never.
	Poll time.Duration
	// Debounce is how long a file that is written in place must be quiet
	// before it is believed. 0 means 1 s, negative believes it at once.
	Debounce time.Duration
	// PollOnly leaves file system events alone, for file systems that report
	// none. A change then takes up to Poll plus Debounce.
	PollOnly bool

	// Watcher is what the Agent watches files with, so that several Agents of one
	// process share an inotify instance, of which a user often has no more than
	// 128. nil means one of its own. With PollOnly it is not used.
	Watcher *reload.Watcher
	// From is the Snapshot of another Agent, from which this one starts: it keeps
	// the revocations, the retirements, and the superseded credentials with their
	// deadlines, also where it reads another source. [Agent.Merge] describes how
	// one Agent takes the place of another while requests come. With WaitForSource
	// a source that cannot be read now keeps what the other Agent accepted.
	//
	// With From the StateFile is not read at the start. If it is that of the
	// other Agent, this one writes it after Merge, or once the other is closed. nil
	// means none.
	From *Snapshot

	// Logger takes what operators need to know. nil means slog.Default().
	// No token is ever logged, only fingerprints.
	Logger *slog.Logger
}

// resolved is a Config with its defaults and its sources.
type resolved struct {
	Config
	tokens *sourceSpec // nil for none
	keys   *sourceSpec // nil for none
	window rotation.Window
}

// A source is where credentials of one kind stand.
type sourceSpec struct {
	name         string
	kind         string // file, env file or env; key file or jwks url
	location     string
	identity     string // location, whatever the working directory
	source       reload.Source
	watched      bool
	remote       bool // a server
	needsCurrent bool // without a current one something is wrong
	window       rotation.Window
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

var envForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// resolve finds every fault of c, and all of them together.
func (c Config) resolve() (*resolved, error) {
	var faults *multierror.Error
	fault := func(format string, args ...any) {
		faults = multierror.Append(faults, option.Errorf(option.Field, format, args...))
	}
	r := &resolved{Config: c}
	r.Name, r.KeyName = cmp.Or(c.Name, "token"), cmp.Or(c.KeyName, "keys")
	for setting, name := range map[string]string{"{name}": r.Name, "{key-name}": r.KeyName} {
		if !nameForm.MatchString(name) {
			fault(setting + " must be letters, digits, '.', '_' or '-', at most 63, and begin with a letter or digit")
		}
	}
	if r.Name == r.KeyName {
		fault("{name} and {key-name} are the same; metrics could not tell the two apart")
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
		fault("{max-overlap} needs {overlap}, and that is none; leave {max-overlap} out")
	case c.MaxOverlap > 0 && c.MaxOverlap < r.window.Overlap:
		fault("{max-overlap} (%s) is shorter than {overlap} (%s); make it at least as long", c.MaxOverlap, r.window.Overlap)
	case c.MaxOverlap > 0:
		r.window.MaxOverlap = c.MaxOverlap
	}
	if c.MinTokenBytes < 0 {
		fault("{min-token-bytes} is negative; 0 means %d", token.DefaultMinBytes)
	}
	if c.Poll > 0 && c.Poll < minPoll {
		fault("{poll-interval} is shorter than %s; file system events tell sooner", minPoll)
	}
	if c.Poll < 0 && c.PollOnly {
		fault("{poll-only} with a negative {poll-interval} would never notice a change; give {poll-interval} or leave {poll-only} out")
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	for _, find := range []func() error{r.findKeys, r.findTokens, r.checkStateFile} {
		if err := find(); err != nil {
			faults = multierror.Append(faults, err)
		}
	}
	if faults != nil {
		faults.ErrorFormat = option.OneLine
		return nil, fmt.Errorf("agent: %w", faults)
	}
	return r, nil
}

// findKeys settles where the keys are.
func (r *resolved) findKeys() error {
	c := r.Config
	switch {
	case c.KeyFile != "" && c.JWKSURL != "":
		return option.Errorf(option.Field, "{key-file} and {jwks-url} are both set; one source is meant: leave one empty")
	case c.KeyFile != "":
		r.keys = &sourceSpec{source: reload.Path(c.KeyFile, jwks.KeyNames()...), kind: "key file", location: c.KeyFile, identity: absolute(c.KeyFile), watched: true}
	case c.JWKSURL != "":
		remote, err := jwks.Remote(c.JWKSURL, c.JWKS.options(c.KeyAlgorithm, r.Logger))
		if err != nil {
			return err
		}
		r.keys = &sourceSpec{source: remote, kind: "jwks url", location: remote.String(), identity: remote.String(), remote: true}
	default:
		return nil
	}
	r.keys.name, r.keys.window = r.KeyName, r.window
	rules := r.JWT.config(nil)
	return rules.Validate()
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// findTokens settles where the tokens are.
func (r *resolved) findTokens() error {
	c := r.Config
	switch {
	case r.keys != nil && c.TokenFile == "" && c.EnvFile == "" && c.TokenEnv == "":
		return nil
	case c.TokenFile != "" && (c.TokenEnv != "" || c.EnvFile != ""):
		return option.Errorf(option.Field, "{token-file} and "+named(c.TokenEnv != "", "{token-env}", "{env-file}")+" are both set; one source is meant: leave one empty")
	case c.TokenFile != "":
		r.file(c.TokenFile)
	case c.TokenEnv != "" && !envForm.MatchString(c.TokenEnv):
		// It is not quoted: a shell may have put the token in its place.
		return option.Errorf(option.Field, "{token-env} is not the name of an environment variable, which has letters, digits and '_' and does not begin with a digit; give the name, not the value")
	case c.EnvFile != "":
		name := cmp.Or(c.TokenEnv, DaprTokenEnv)
		shown := fmt.Sprint(reload.Env(name))
		r.token(&sourceSpec{source: reload.EnvFile(c.EnvFile, name), kind: "env file", location: c.EnvFile, identity: absolute(c.EnvFile) + " " + shown, watched: true})
	case c.TokenEnv != "":
		r.env(c.TokenEnv)
	default:
		return r.findInEnvironment()
	}
	return nil
}

func (r *resolved) findInEnvironment() error {
	path, hasFile := os.LookupEnv(DaprTokenEnv + "_FILE")
	_, hasToken := os.LookupEnv(DaprTokenEnv)
	switch {
	case hasFile && hasToken:
		return option.Errorf(option.Field, "no source configured, and the environment has both "+DaprTokenEnv+"_FILE and "+DaprTokenEnv+"; unset one")
	case hasFile && path == "":
		return option.Errorf(option.Field, "no source configured, and "+DaprTokenEnv+"_FILE is empty; give it the path of the token file")
	case hasFile:
		r.file(path)
	case hasToken:
		r.env(DaprTokenEnv)
	default:
		return option.Errorf(option.Field, "no source; set {token-file}, {env-file} or {token-env}, or the environment variable "+DaprTokenEnv+"_FILE or "+DaprTokenEnv)
	}
	return nil
}

func (r *resolved) file(path string) {
	r.token(&sourceSpec{source: reload.Path(path, token.FileNames()...), kind: "file", location: path, identity: absolute(path), watched: true})
}

func (r *resolved) env(name string) {
	src := reload.Env(name)
	shown := fmt.Sprint(src)
	r.token(&sourceSpec{source: src, kind: "env", location: shown, identity: shown})
}

func (r *resolved) token(s *sourceSpec) {
	s.name, s.window, s.needsCurrent = r.Name, r.window, true
	r.tokens = s
}

func named(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
