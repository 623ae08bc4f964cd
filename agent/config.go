package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// DaprTokenEnv is the variable in which Dapr hands an app its API token
// (https://docs.dapr.io/operations/security/app-api-token/). With "_FILE"
// behind it, it names the file that holds the token.
const DaprTokenEnv = "APP_API_TOKEN" //nolint:gosec // a name

// minPoll keeps polling from becoming a loop that never rests.
const minPoll = 10 * time.Millisecond

// DefaultOverlap is how long a superseded token stays accepted by default.
const DefaultOverlap = 15 * time.Minute

// A Config says where the tokens are and how they rotate. The zero Config
// finds its source in the environment: APP_API_TOKEN_FILE, else APP_API_TOKEN.
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

	// Name is what metrics, logs and Principals call the source. "" means
	// "token". Letters, digits, '.', '_' and '-'.
	Name string
	// Overlap is how long a superseded token stays accepted. 0 means
	// DefaultOverlap, negative none at all.
	Overlap time.Duration
	// MaxOverlap, where positive, makes the overlap wait and slide: it opens at
	// the first accepted use of the new token, each accepted use of the old one
	// renews it by Overlap (to within a second), and it ends MaxOverlap after
	// the switch at the latest. It must be at least Overlap. That is for senders
	// that change only when they restart, as daprd does. 0 means a fixed Overlap.
	MaxOverlap time.Duration
	// StateFile is the path of a file in which the Agent remembers superseded
	// tokens (by salted HMAC), their deadlines and what was revoked by hand, so
	// that a restart in the middle of a rotation changes nothing. It is equal in
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

	// Logger takes what operators need to know. nil means slog.Default().
	// No token is ever logged, only fingerprints.
	Logger *slog.Logger
}

// resolved is a Config with its defaults and its source.
type resolved struct {
	Config
	source   reload.Source
	kind     string // file, env file or env
	location string
	identity string // location, whatever the working directory
	watched  bool
	window   rotation.Window
	parse    verify.ParseOptions
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// resolve finds every fault of c, and all of them together.
func (c Config) resolve() (*resolved, error) {
	var faults *multierror.Error
	fault := func(format string, args ...any) {
		faults = multierror.Append(faults, fmt.Errorf(format, args...))
	}
	r := &resolved{Config: c}
	if r.Name == "" {
		r.Name = "token"
	}
	if !nameForm.MatchString(r.Name) {
		fault("Name must be letters, digits, '.', '_' or '-', at most 63, and begin with a letter or digit")
	}
	switch {
	case c.Overlap == 0:
		r.window.Overlap = DefaultOverlap
	case c.Overlap > 0:
		r.window.Overlap = c.Overlap
	}
	switch {
	case c.MaxOverlap < 0:
		fault("MaxOverlap is negative; 0 means a fixed Overlap")
	case c.MaxOverlap > 0 && r.window.Overlap == 0:
		fault("MaxOverlap goes with an Overlap, and there is none; leave one of them out")
	case c.MaxOverlap > 0 && c.MaxOverlap < r.window.Overlap:
		fault("MaxOverlap (%s) is shorter than Overlap (%s); make it at least as long", c.MaxOverlap, r.window.Overlap)
	}
	r.window.MaxOverlap = c.MaxOverlap
	if c.MinTokenBytes < 0 {
		fault("MinTokenBytes is negative; 0 means %d", verify.DefaultMinTokenBytes)
	}
	if c.Poll > 0 && c.Poll < minPoll {
		fault("Poll is shorter than %s; file system events tell sooner", minPoll)
	}
	if c.Poll < 0 && c.PollOnly {
		fault("PollOnly with a negative Poll would never notice a change; give Poll or leave PollOnly out")
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	if err := r.find(); err != nil {
		faults = multierror.Append(faults, err)
	}
	if faults != nil {
		faults.ErrorFormat = oneLine
		return nil, fmt.Errorf("agent: %w", faults)
	}
	r.identity = r.location
	if abs, err := filepath.Abs(r.location); err == nil && r.watched {
		r.identity = abs
	}
	if r.kind == "env file" {
		r.identity += " " + cmp.Or(c.TokenEnv, DaprTokenEnv)
	}
	r.parse = verify.ParseOptions{MinTokenBytes: c.MinTokenBytes, Name: r.location}
	return r, nil
}

// find settles which source is meant.
func (r *resolved) find() error {
	c := r.Config
	switch {
	case c.TokenFile != "" && (c.TokenEnv != "" || c.EnvFile != ""):
		return errors.New("TokenFile and " + named(c.TokenEnv != "", "TokenEnv", "EnvFile") + " are both set; one source is meant: leave one empty")
	case c.TokenFile != "":
		r.file(c.TokenFile)
	case c.EnvFile != "":
		name := cmp.Or(c.TokenEnv, DaprTokenEnv)
		r.source, r.kind, r.location, r.watched = reload.EnvFile(c.EnvFile, name), "env file", c.EnvFile, true
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
		return errors.New("no source configured, and the environment has both " + DaprTokenEnv + "_FILE and " + DaprTokenEnv + "; unset one")
	case hasFile && path == "":
		return errors.New("no source configured, and " + DaprTokenEnv + "_FILE is empty; give it the path of the token file")
	case hasFile:
		r.file(path)
	case hasToken:
		r.env(DaprTokenEnv)
	default:
		return errors.New("no source; set TokenFile, EnvFile or TokenEnv, or the environment variable " + DaprTokenEnv + "_FILE or " + DaprTokenEnv)
	}
	return nil
}

func (r *resolved) file(path string) {
	r.source, r.kind, r.location, r.watched = reload.Path(path, verify.Keys()...), "file", path, true
}

func (r *resolved) env(name string) {
	r.source, r.kind, r.location = reload.Env(name), "env", name
}

func named(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// oneLine joins the faults of a configuration, since go-multierror's own text
// takes many lines.
func oneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}
