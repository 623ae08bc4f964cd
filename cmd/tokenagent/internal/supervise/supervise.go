// Package supervise is what `tokenagent exec` does: it runs a program that
// reads its token from an environment variable once, and runs it anew with the
// new token when the source's current token has changed.
//
// The data's way: the agent publishes a change; look compares the current token
// with the one that the program was given, and notes when the program is due;
// act stops it then, and starts it anew once the old one has ended. One
// goroutine does all of it, and a signal, a timer or the program's end only
// leads to the next look.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Source says what the current token is. An [agent.Agent] is one.
type Source interface {
	Token() (string, error)
	Updated() <-chan struct{}
	Status() agent.Status
	// Verify is asked whether the source revokes the token that the program has.
	Verify(ctx context.Context, token string) (*verify.Principal, error)
}

// Options say what to run and how to replace it.
type Options struct {
	Command []string // the program and its arguments
	Env     string   // the variable that holds the token
	Environ []string // the program's environment, in which Env is replaced

	// Delay is how long a token must have been published before the program
	// gets it, so that those it sends to know it. 0 means at once, and so it is
	// where the source revokes the token that the program has.
	Delay time.Duration
	// StopSignal asks the program to end before it is started anew; after
	// StopTimeout it is killed.
	StopSignal  os.Signal
	StopTimeout time.Duration
	// ChangeSignal is sent to the program on a change, which goes on running
	// with the environment it has. nil means that it is started anew.
	ChangeSignal os.Signal
	// Wait starts the program once there is a token. Without it, a source that
	// has none at first is an error.
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

// After a restart a program may fail because of the restart: a port that is
// not free yet, a neighbour that was busy. To end then would make an outage of
// a rotation, so it is tried again, for about three minutes in all.
const (
	soon      = 10 * time.Second // an end within this is put down to the restart
	firstRest = time.Second      // before the first new try; doubles
	longRest  = time.Minute
	maxTries  = 8
)

// A program is the command while it runs.
type program interface {
	signal(sig os.Signal)   // of our own
	forward(sig os.Signal)  // that was sent to us
	kill()                  // with what it has started
	ended() <-chan struct{} // closed once it has ended
	code() int              // of one that has; 128+n where signal n ended it
}

// A startError says why the program cannot be started, with the exit code that
// a shell has for that.
type startError struct {
	error
	code int
}

func (e startError) Unwrap() error { return e.error }

// A phase is what the Supervisor waits for.
type phase int

const (
	waiting  phase = iota // for the first token; nothing has run yet
	running               // for a change, or the program's own end
	stopping              // for the end of the program, to start it anew
	resting               // for the time to start it; nothing runs
)

// A Supervisor runs one program and replaces it. Make one with [New] and call
// Run once. It is a prometheus.Collector too, which may be used concurrently.
type Supervisor struct {
	o      Options
	src    Source
	log    *slog.Logger
	launch func(token string) (program, error)
	reap   func() (stop func()) // orphans, while Run runs
	stats  atomic.Pointer[stats]

	// All below belongs to Run.
	phase phase
	prog  program   // nil while nothing runs
	token string    // what the program was given, or is to be started with
	next  *change   // what it gets after that; nil for nothing
	known published // tokens that receivers know before they are current
	dry   bool      // the source has no current token

	started  time.Time
	killAt   time.Time // while stopping; zero once killed
	restTill time.Time // while resting
	anew     bool      // the program's start followed a change
	told     bool      // a signal that asks for its end was forwarded to the program
	tries    int       // since the last change
	ending   os.Signal // nil until told to end; then nothing is started any more
	counts   counts
}

// A change is a token that the program is to get.
type change struct {
	token string
	due   time.Time
}

// New returns a Supervisor that runs o.Command with the tokens of src, or says
// what is wrong with o. That the program cannot be found is an error already.
func New(src Source, o Options) (*Supervisor, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("supervise: %w", err)
	}
	l, err := newLauncher(&o)
	if err != nil {
		return nil, code(err)
	}
	s := &Supervisor{o: o, src: src, log: o.Logger, launch: l.launch, reap: l.watch}
	s.stats.Store(&stats{})
	return s, nil
}
