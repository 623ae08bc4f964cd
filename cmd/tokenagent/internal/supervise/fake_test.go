//go:build unix

package supervise

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	tokenA = "CANARY-51cc00-A"
	tokenB = "CANARY-51cc00-B"
	tokenC = "CANARY-51cc00-C"
)

// A fakeSource is a Source whose content the test sets.
type fakeSource struct {
	mu      sync.Mutex
	token   string // "" for none
	staged  []string
	revoked []string
	updated chan struct{}
}

func (f *fakeSource) Token() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token == "" {
		return "", verify.ErrUnavailable
	}
	return f.token, nil
}

func (f *fakeSource) Updated() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.updated
}

func (f *fakeSource) Status() agent.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s agent.SourceStatus
	if f.token != "" {
		s.Tokens = append(s.Tokens, agent.TokenStatus{Slot: "current", Fingerprint: fingerprint(f.token)})
	}
	for _, t := range f.staged {
		s.Tokens = append(s.Tokens, agent.TokenStatus{Slot: "next", Fingerprint: fingerprint(t)})
	}
	s.Revoked = len(f.revoked)
	return agent.Status{Sources: []agent.SourceStatus{s}}
}

// Verify accepts no token. For a revoked token it returns ErrRevokedToken.
func (f *fakeSource) Verify(_ context.Context, token string) (*verify.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.revoked, token) {
		return nil, verify.ErrRevokedToken
	}
	return nil, verify.ErrInvalidToken
}

// revoke makes the next call of set also revoke tokens.
func (f *fakeSource) revoke(tokens ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = tokens
}

// set changes the content of the source at once.
func (f *fakeSource) set(token string, staged ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.staged = token, staged
	close(f.updated)
	f.updated = make(chan struct{})
}

// A fakeProgram ends when the test ends it, and at SIGTERM if endsOnTerm is true.
type fakeProgram struct {
	w     *fixture
	token string
	done  chan struct{}
	once  sync.Once
	exit  int
}

func (p *fakeProgram) end(code int) { p.once.Do(func() { p.exit = code; close(p.done) }) }

func (p *fakeProgram) take(how string, sig os.Signal) {
	p.w.record(how + " " + sig.String())
	if (sig == syscall.SIGTERM || sig == syscall.SIGQUIT) && p.w.endsOnTerm {
		p.end(p.w.stopCode)
	}
}

func (p *fakeProgram) signal(sig os.Signal)   { p.take("signal", sig) }
func (p *fakeProgram) forward(sig os.Signal)  { p.take("forward", sig) }
func (p *fakeProgram) kill()                  { p.w.record("kill"); p.end(137) }
func (p *fakeProgram) ended() <-chan struct{} { return p.done }

func (p *fakeProgram) code() int {
	if p.w.atEnd != nil {
		p.w.atEnd()
	}
	return p.exit
}

// A fixture is a Supervisor with a fake source and fake programs, in a synctest bubble.
type fixture struct {
	t       *testing.T
	src     *fakeSource
	s       *Supervisor
	signals chan os.Signal
	log     bytes.Buffer
	began   time.Time

	endsOnTerm bool // programs end on SIGTERM
	stopCode   int
	fails      []error // of the next starts; nil lets one succeed
	atEnd      func()  // called when Run has seen that a program ended

	mu     sync.Mutex
	events []string // what happened, each with its time
	prog   *fakeProgram
	result chan error
}

// supervised runs play while a Supervisor runs a program with tokenA.
func supervised(t *testing.T, o Options, play func(w *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &fixture{
			t: t, src: &fakeSource{updated: make(chan struct{}), token: tokenA}, signals: make(chan os.Signal, 2),
			endsOnTerm: true, result: make(chan error, 1), began: time.Now(),
		}
		if o.Wait {
			w.src.token = ""
		}
		o.Command, o.Env = []string{"x"}, "T"
		o.StopSignal, o.StopTimeout = syscall.SIGTERM, 30*time.Second
		o.Logger = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w.s = &Supervisor{o: o, source: w.src, log: o.Logger, launch: w.launch, metrics: newMetrics()}
		go func() { w.result <- w.s.Run(w.signals) }()
		synctest.Wait()
		play(w)
		synctest.Wait()
		w.signals <- syscall.SIGTERM // for a Run that has not ended
		synctest.Wait()
		w.mu.Lock()
		p := w.prog
		w.mu.Unlock()
		if p != nil {
			p.end(0)
		}
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if strings.Contains(w.log.String(), "CANARY") {
			t.Errorf("the log shows a token:\n%s", w.log.String())
		}
	})
}

func (w *fixture) launch(token string) (program, error) {
	if len(w.fails) > 0 {
		err := w.fails[0]
		w.fails = w.fails[1:]
		if err != nil {
			w.record("fails")
			return nil, err
		}
	}
	w.mu.Lock()
	if w.prog != nil {
		select {
		case <-w.prog.done:
		default:
			w.t.Error("a program is started while another one runs")
		}
	}
	p := &fakeProgram{w: w, token: token, done: make(chan struct{})}
	w.prog = p
	w.mu.Unlock()
	w.record("start " + token[len(token)-1:])
	return p, nil
}

func (w *fixture) record(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, time.Since(w.began).String()+" "+what)
}

// after advances the fake clock and waits until everything is idle.
func (w *fixture) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until returns the time until the next token is due, as the metrics show it.
func (w *fixture) until() time.Duration {
	due := testutil.ToFloat64(w.s.metrics.pending)
	return time.Until(time.UnixMilli(int64(math.Round(due * 1000))))
}

// wantMetrics compares the counters.
func (w *fixture) wantMetrics(changes, retries, signals, kills float64) {
	w.t.Helper()
	for name, c := range map[string]struct {
		counter prometheus.Counter
		want    float64
	}{
		"restarts for a change":      {w.s.metrics.changes, changes},
		"restarts for another try":   {w.s.metrics.retries, retries},
		"signals that tell a change": {w.s.metrics.signals, signals},
		"kills":                      {w.s.metrics.kills, kills},
	} {
		if got := testutil.ToFloat64(c.counter); got != c.want {
			w.t.Errorf("the metrics count %g %s, want %g", got, name, c.want)
		}
	}
}

func (w *fixture) set(token string, staged ...string) {
	w.src.set(token, staged...)
	synctest.Wait()
}

func (w *fixture) send(sig os.Signal) {
	w.signals <- sig
	synctest.Wait()
}

// ends makes the program end by itself.
func (w *fixture) ends(code int) {
	w.mu.Lock()
	p := w.prog
	w.mu.Unlock()
	p.end(code)
	synctest.Wait()
}

// want compares the events so far.
func (w *fixture) want(events ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.events, "\n"), strings.Join(events, "\n"); got != want {
		w.t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
}

// wantEnd fails unless Run has returned with the exit code.
func (w *fixture) wantEnd(code int) {
	w.t.Helper()
	select {
	case err := <-w.result:
		if got := exitcode.Of(err); got != code {
			w.t.Errorf("exit code %d, want %d (%v)", got, code, err)
		}
		if testutil.ToFloat64(w.s.metrics.running) != 0 {
			w.t.Error("the metrics say that it runs")
		}
	default:
		w.t.Errorf("it has not ended, want exit code %d", code)
	}
}

func (w *fixture) wantRunning() {
	w.t.Helper()
	select {
	case err := <-w.result:
		w.t.Errorf("it has ended: %v", err)
	default:
	}
}

var errNotFound = exitcode.With(127, errors.New("x: not found"))
