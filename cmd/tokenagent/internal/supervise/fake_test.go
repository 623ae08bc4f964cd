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

// A fakeSource is an agent whose content the test decides.
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

// Verify knows no token but the revoked ones.
func (f *fakeSource) Verify(_ context.Context, token string) (*verify.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.revoked, token) {
		return nil, verify.ErrRevokedToken
	}
	return nil, verify.ErrInvalidToken
}

// revoke has the next set revoke tokens, too.
func (f *fakeSource) revoke(tokens ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = tokens
}

// set changes the source as one swap does.
func (f *fakeSource) set(token string, staged ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.staged = token, staged
	close(f.updated)
	f.updated = make(chan struct{})
}

// A fakeProgram ends when the test says so, or by the signals that it heeds.
type fakeProgram struct {
	w     *world
	token string
	done  chan struct{}
	once  sync.Once
	exit  int
}

func (p *fakeProgram) end(code int) { p.once.Do(func() { p.exit = code; close(p.done) }) }

func (p *fakeProgram) take(how string, sig os.Signal) {
	p.w.tell(how + " " + sig.String())
	if (sig == syscall.SIGTERM || sig == syscall.SIGQUIT) && p.w.heeds {
		p.end(p.w.stopCode)
	}
}

func (p *fakeProgram) signal(sig os.Signal)   { p.take("signal", sig) }
func (p *fakeProgram) forward(sig os.Signal)  { p.take("forward", sig) }
func (p *fakeProgram) kill()                  { p.w.tell("kill"); p.end(137) }
func (p *fakeProgram) ended() <-chan struct{} { return p.done }

func (p *fakeProgram) code() int {
	if p.w.atEnd != nil {
		p.w.atEnd()
	}
	return p.exit
}

// A world is a Supervisor among fakes, inside synctest.
type world struct {
	t       *testing.T
	src     *fakeSource
	s       *Supervisor
	signals chan os.Signal
	log     bytes.Buffer
	begun   time.Time

	heeds    bool // programs end on SIGTERM
	stopCode int
	fails    []error // of the next starts, one each; nil starts
	atEnd    func()  // called when Run has seen that a program ended

	mu     sync.Mutex
	story  []string // what happened, each with its time
	prog   *fakeProgram
	result chan error
}

// supervised runs play beside a Supervisor that has started with tokenA.
func supervised(t *testing.T, o Options, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, src: &fakeSource{updated: make(chan struct{}), token: tokenA}, signals: make(chan os.Signal, 2),
			heeds: true, result: make(chan error, 1), begun: time.Now(),
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

func (w *world) launch(token string) (program, error) {
	if len(w.fails) > 0 {
		err := w.fails[0]
		w.fails = w.fails[1:]
		if err != nil {
			w.tell("fails")
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
	w.tell("start " + token[len(token)-1:])
	return p, nil
}

func (w *world) tell(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, time.Since(w.begun).String()+" "+what)
}

// after lets time go by, and what it sets off.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until returns how long it is until the program is due, by the metrics.
func (w *world) until() time.Duration {
	due := testutil.ToFloat64(w.s.metrics.pending)
	return time.Until(time.UnixMilli(int64(math.Round(due * 1000))))
}

// wantMetrics compares what the metrics count.
func (w *world) wantMetrics(changes, retries, signals, kills float64) {
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

func (w *world) set(token string, staged ...string) {
	w.src.set(token, staged...)
	synctest.Wait()
}

func (w *world) send(sig os.Signal) {
	w.signals <- sig
	synctest.Wait()
}

// ends has the program end by itself.
func (w *world) ends(code int) {
	w.mu.Lock()
	p := w.prog
	w.mu.Unlock()
	p.end(code)
	synctest.Wait()
}

// want compares all that has happened so far.
func (w *world) want(story ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.story, "\n"), strings.Join(story, "\n"); got != want {
		w.t.Errorf("it happened:\n%s\nwanted:\n%s", got, want)
	}
}

// wantEnd fails unless Run has returned what ends the command with code.
func (w *world) wantEnd(code int) {
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

func (w *world) wantRunning() {
	w.t.Helper()
	select {
	case err := <-w.result:
		w.t.Errorf("it has ended: %v", err)
	default:
	}
}

var errNotFound = exitcode.With(127, errors.New("x: not found"))
