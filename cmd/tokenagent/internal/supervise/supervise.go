// Package supervise implements `tokenagent exec`: it runs a program that reads its token
// once, from an environment variable, and restarts the program when the current token of
// the source changes.
//
// One goroutine repeats two steps. look compares the current token of the source with the
// token of the program, and notes when the program must get another one. act stops and
// starts the program when that time has come. A change of the source, a timer, a signal
// and the end of the program start the next round.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Source has a current token. An [agent.Agent] is one.
type Source interface {
	Token() (string, error)
	Updated() <-chan struct{}
	Status() agent.Status
	// Verify fails with [verify.ErrRevokedToken] if the source revokes the token.
	Verify(ctx context.Context, token string) (*verify.Principal, error)
}

// Options configure which program runs and how it is restarted.
type Options struct {
	Command []string // the program and its arguments
	Env     string   // the variable that holds the token, in addition to this process's environment

	// Delay is the time between the publication of a token and its use by the program, so
	// that receivers know the token first. There is no delay if the source revokes the
	// token of the program.
	Delay time.Duration
	// StopSignal asks the program to end before a restart. After StopTimeout the program
	// is killed.
	StopSignal  os.Signal
	StopTimeout time.Duration
	// ChangeSignal is sent to the program instead of a restart; nil means a restart.
	ChangeSignal os.Signal
	// Wait makes Run wait for the first token instead of failing without one.
	Wait   bool
	Logger *slog.Logger
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate returns an error that names the flag if o is not valid.
func (o *Options) Validate() error {
	switch {
	case len(o.Command) == 0 || o.Command[0] == "":
		return errors.New("the program is missing; give it after --, as in: tokenagent exec --token-file PATH -- CMD ARG")
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
	signal(sig os.Signal)   // sends a signal of this process
	forward(sig os.Signal)  // passes on a signal that was sent to this process
	kill()                  // kills the program and its process group
	ended() <-chan struct{} // is closed when the program has ended
	code() int              // returns the exit code after the end; 128+n if signal n ended the program
}

// A phase is what the Supervisor waits for.
type phase int

const (
	waiting  phase = iota // for the first token; the program has not been started yet
	running               // for a change, or for the end of the program
	stopping              // for the end of the program, to start it again
	pausing               // for the time to start the program again, which does not run now
)

// A Supervisor runs one program and restarts it. Run may be called once. Its metrics may
// be collected at the same time.
type Supervisor struct {
	prometheus.Collector

	o       Options
	source  Source
	log     *slog.Logger
	launch  func(token string) (program, error)
	metrics *metrics

	phase    phase
	prog     program              // nil while the program does not run
	token    string               // the token of the program, now or at its next start
	next     change               // the change after that; it has no token if there is none
	staged   map[string]time.Time // when each next or listed token was first seen, by fingerprint
	lost     bool                 // the source has no current token
	deadline time.Time            // while stopping, when to kill the program; while pausing, when to start it

	started   time.Time
	restarted bool // the program was started after a change
	toldToEnd bool // a signal that ends programs was forwarded to the program
	tries     int  // the number of failed restarts since the last change
	ending    bool // this process was told to end, so the program is not started again
}

// A change is a token that the program must get, and when.
type change struct {
	token string
	due   time.Time
}

// New returns a Supervisor that runs o.Command with the tokens of src. o must be valid.
// If the program cannot be found, the error of New has the exit code that a shell uses.
func New(src Source, o Options) (*Supervisor, error) {
	launch, err := newLauncher(&o)
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	return &Supervisor{Collector: m, o: o, source: src, log: o.Logger, launch: launch, metrics: m}, nil
}
