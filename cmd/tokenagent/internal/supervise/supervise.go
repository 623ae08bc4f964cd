// Package supervise is what `tokenagent exec` does: it runs a program that reads its
// token once, from an environment variable, and restarts it when the current token of
// the source changes.
//
// A change takes these steps: the agent publishes it; look compares the current token
// with the one that the program has, and notes when the program is due to get it; act
// stops the program then, and starts it again once it has ended. One goroutine does all
// of it. A signal, a timer and the end of the program only make it look again.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Source has a current token. An [agent.Agent] is one.
type Source interface {
	Token() (string, error)
	Updated() <-chan struct{}
	Status() agent.Status
	// Verify tells whether the source revokes the token that the program has.
	Verify(ctx context.Context, token string) (*verify.Principal, error)
}

// Options say what to run and how to restart it.
type Options struct {
	Command []string // the program and its arguments
	Env     string   // the variable that holds the token
	Environ []string // the program's environment, in which Env is replaced

	// Delay is how long a token must have been published before the program gets it, so
	// that receivers know it. It does not apply if the source revokes the token that the
	// program has.
	Delay time.Duration
	// StopSignal asks the program to end before a restart. After StopTimeout the program
	// is killed.
	StopSignal  os.Signal
	StopTimeout time.Duration
	// ChangeSignal is sent to the program instead of a restart; nil means a restart.
	ChangeSignal os.Signal
	// Wait lets Run wait for the first token, instead of failing without one.
	Wait   bool
	Logger *slog.Logger
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate reports what is wrong with o, by flag.
func (o *Options) Validate() error {
	switch {
	case len(o.Command) == 0 || o.Command[0] == "":
		return errors.New("the program is missing; put it behind --, as in: tokenagent exec --token-file PATH -- CMD ARG")
	case !nameForm.MatchString(o.Env):
		return errors.New("--env must be the name of an environment variable: letters, digits and '_', no digit first")
	case o.Delay < 0:
		return errors.New("--restart-delay must not be negative; 0s means at once")
	case o.StopTimeout <= 0:
		return errors.New("--stop-timeout must be longer than 0s")
	}
	return nil
}

// A program is the command while it runs.
type program interface {
	signal(sig os.Signal)   // sends a signal of our own
	forward(sig os.Signal)  // passes on a signal that was sent to this process
	kill()                  // kills it, with what it has started
	ended() <-chan struct{} // is closed once it has ended
	code() int              // is its exit code then; 128+n if signal n ended it
}

// A phase is what the Supervisor waits for.
type phase int

const (
	waiting  phase = iota // for the first token; nothing has run yet
	running               // for a change, or for the end of the program
	stopping              // for the end of the program, to start it again
	pausing               // for the time to start it again; nothing runs
)

// A Supervisor runs one program and restarts it. Run may be called once. The methods of
// [prometheus.Collector] may be called concurrently with it.
type Supervisor struct {
	o       Options
	source  Source
	log     *slog.Logger
	launch  func(token string) (program, error)
	metrics *metrics

	phase    phase
	prog     program              // nil while nothing runs
	token    string               // what the program has, or is to be started with
	next     *change              // what it gets after that; nil for nothing
	staged   map[string]time.Time // since when receivers accept a token that is not current, by fingerprint
	lost     bool                 // the source has no current token
	deadline time.Time            // while stopping, when to kill the program; while pausing, when to start it

	started   time.Time
	restarted bool // the program was started after a change
	askedEnd  bool // a signal that asks the program to end was forwarded to it
	tries     int  // since the last change
	ending    bool // this process was told to end; nothing is started any more
}

// A change is a token that the program is to get.
type change struct {
	token string
	due   time.Time
}

// New returns a Supervisor that runs o.Command with the tokens of src. o must be valid.
// If the program cannot be found, New fails with the exit code that a shell has for that.
func New(src Source, o Options) (*Supervisor, error) {
	launch, err := newLauncher(&o)
	if err != nil {
		return nil, err
	}
	return &Supervisor{o: o, source: src, log: o.Logger, launch: launch, metrics: newMetrics()}, nil
}
