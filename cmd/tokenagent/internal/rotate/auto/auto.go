// Package auto runs a whole rotation: it stages a new token, waits for the receivers,
// promotes it, restarts the senders, waits until nobody uses the old token, and retires
// that.
//
// The state is in the targets: what they declare, and in a Secret also a [Mark]. So a run
// that is killed at any point can be started again, and several runs at the same time work
// on the same rotation: each write carries the resourceVersion that was read, and whoever
// loses reads again and decides anew. [Decide] is a pure function; [Runner] does the I/O.
package auto

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
)

// Settings say how long to wait.
type Settings struct {
	HasReceivers bool          // agents are asked; otherwise StageWait and the deadline decide
	HasSenders   bool          // workloads are restarted
	StageWait    time.Duration // how long receivers need for the new token
	MinAge       time.Duration // a target that was rotated less long ago is left alone
	Timeout      time.Duration // how long receivers and rollouts may take
	Overlap      time.Duration // how long the old token is accepted after the promotion, and after each extension
}

// reach is how long receivers may need for a later deadline.
func (s Settings) reach() time.Duration { return max(s.StageWait, 3*time.Minute) }

// LeastOverlap returns the shortest Overlap that can be extended in time.
func (s Settings) LeastOverlap() time.Duration { return 2 * s.reach() }

// Options say what to rotate, and how.
type Options struct {
	Settings
	Secrets *Secrets     // what is rotated; nil for Path
	Path    *Path        // what is rotated, if Secrets is nil
	Client  *kube.Client // of the cluster; nil if there is none

	Distinct      bool // each target gets a token of its own
	AllNamespaces bool // the Services may be looked for in all namespaces
	IgnoreOwner   bool // go on although a tool may undo the rotation
	DryRun        bool // only check
	Services      []Service
	Senders       []Sender
	Gate          gate.Gate     // with the receivers that do not change
	Idle          time.Duration // see [gate.Unused]

	// Step returns what a step makes of sources that share a token: stage, promote, extend,
	// retire, and for an abort unstage and return. now is the time that deadlines count from.
	Step func(name string, sources []content.Source, now time.Time) ([]content.Content, error)
	// BeforeStage is called before the first write of a new token; nil for nothing.
	BeforeStage func() error
	Progress    func(Progress)
}

// Progress is something that a run did or waits for.
type Progress struct {
	Time     time.Time `json:"time"`
	Rotation string    `json:"rotation,omitempty"`
	// Event is staged, promoted, restarted, extended, retired, aborted, adopted, waiting, warning,
	// checked, finished or failed.
	Event       string `json:"event"`
	Target      string `json:"target,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"` // of the new token
	Message     string `json:"message,omitempty"`
}

// A Runner runs one rotation.
type Runner struct {
	Options
	place place

	situation Situation // as of the last read
	targets   []Target  // of situation
	readAt    time.Time // when targets were read; zero to read them again
	phase     Phase     // of the targets that are behind
	since     time.Time // since when they are in phase
	complete  map[kube.Workload]bool
	read      []kube.Rollout // of situation.Rollouts

	checked  bool      // nothing was found that makes a step fail
	failing  time.Time // since when requests fail; zero if they do not
	failures int
	writing  bool   // a write is under way, or the last one has failed
	waiting  string // the last reason to wait that was reported
}

// New returns a Runner.
func New(o Options) *Runner {
	r := &Runner{Options: o, complete: map[kube.Workload]bool{}}
	r.place = o.Path
	if o.Secrets != nil {
		r.place = o.Secrets
	}
	return r
}

// errDone ends Run without an error.
var errDone = errors.New("done")

// Run rotates. It returns nil once the rotation is over, or if there is nothing to do.
func (r *Runner) Run(ctx context.Context) error {
	for {
		err := r.next(ctx)
		switch {
		case errors.Is(err, errDone):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w; %s", exitcode.Interrupted, r.howToGoOn())
		case err == nil:
			if !r.writing { // it may fail again, although all reads succeed
				r.succeeded()
			}
			continue
		}
		if err = r.recover(ctx, err); err != nil {
			r.report(Progress{Event: "failed", Message: err.Error()})
			r.tellFailed(ctx, err)
			return err
		}
	}
}

// next looks where the rotation is, and does the next thing.
func (r *Runner) next(ctx context.Context) error {
	isRead := r.readAt.IsZero()
	if isRead {
		targets, err := r.place.read(ctx)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(r.targets, targets, Target.declaresSame) { // nobody was asked about these
			r.forget()
			r.since = time.Time{}
		}
		r.targets, r.readAt = targets, time.Now()
	}
	r.situation.Settings, r.situation.Targets, r.situation.Now = r.Settings, r.targets, r.place.now()
	r.situation.Waited = time.Since(r.since)
	a := Decide(r.situation)
	if a.Do != Stop && a.Do != Finish && (a.Phase != r.phase || r.since.IsZero()) {
		if a.Phase != r.phase { // whoever has brought the targets here, it went on
			r.succeeded()
		}
		r.forget()
		r.phase, r.since, r.situation.Waited = a.Phase, time.Now(), 0
		a = Decide(r.situation)
	}
	if r.DryRun && a.Do > Stage {
		r.report(Progress{Event: "checked", Rotation: a.ID, Message: fmt.Sprintf("a rotation is under way, and the targets are %s; nothing was written", a.Phase)})
		return errDone
	}
	switch a.Do {
	case Stop:
		return &stopped{fmt.Errorf("%s; %s", a.Why, r.howToGoOn())}
	case Finish:
		r.report(Progress{Event: "finished", Message: cmp.Or(a.Why, "the rotation is over")})
		return errDone
	case Wait:
		r.situation.ID = a.ID
		return r.wait(ctx, a)
	case AskLoaded, AskUnused, LookAtPods, Restart:
		r.situation.ID = a.ID
		switch {
		case a.Do != Restart:
		case !isRead: // somebody may have aborted the rotation since
			r.readAt = time.Time{}
			return nil
		case !r.checked:
			r.writing = true
			return r.checkRest(ctx)
		}
		return r.look(ctx, a)
	case Stage, Adopt, Promote, Extend, Retire:
		return r.change(ctx, a)
	}
	return nil
}

// look looks at what a is about, and does what is no write in a target.
func (r *Runner) look(ctx context.Context, a Action) (err error) {
	switch a.Do {
	case AskLoaded:
		r.situation.Loaded, err = r.ask(ctx, loaded)
	case AskUnused:
		r.situation.Unused, err = r.ask(ctx, r.unused)
	case LookAtPods:
		err = r.rollouts(ctx)
	default:
		r.writing = true
		if err = r.restart(ctx, a.At, false); err == nil {
			r.succeeded()
			for _, i := range a.At {
				r.report(Progress{Event: "restarted", Target: r.situation.Rollouts[i].Name})
			}
		}
		r.situation.Rollouts = nil
	}
	return err
}

// wait waits, and forgets what was seen.
func (r *Runner) wait(ctx context.Context, a Action) error {
	if what, _, _ := strings.Cut(a.Why, "; "); what != r.waiting { // the rest changes all the time
		r.waiting = what
		r.report(Progress{Event: "waiting", Message: a.Why})
	}
	r.forget()
	err := sleep(ctx, min(a.For, readEvery))
	if time.Since(r.readAt) >= readEvery {
		r.readAt = time.Time{}
	}
	return err
}

// readEvery is how long what was read in the targets counts: people may abort the rotation,
// and Secrets may come and go.
const readEvery = time.Minute

// forget forgets what was seen of receivers and senders.
func (r *Runner) forget() {
	r.situation.Loaded, r.situation.Unused, r.situation.Rollouts = nil, nil, nil
}

// succeeded forgets the requests that failed.
func (r *Runner) succeeded() { r.failing, r.failures, r.writing = time.Time{}, 0, false }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// recover returns nil if it makes sense to look again.
func (r *Runner) recover(ctx context.Context, err error) error {
	r.readAt = time.Time{}
	r.forget()
	if _, is := errors.AsType[*stopped](err); is {
		return err
	}
	e, isKube := errors.AsType[*kube.Error](err)
	if !isConflict(err) && (!isKube || !e.Temporary()) {
		return fmt.Errorf("%w; %s", err, r.howToGoOn())
	}
	if r.failing.IsZero() {
		r.failing = time.Now()
	}
	if time.Since(r.failing) >= r.Timeout {
		return fmt.Errorf("%w; this lasts for %s; %s", err, time.Since(r.failing).Round(time.Second), r.howToGoOn())
	}
	if !isConflict(err) && r.failures == 0 {
		r.report(Progress{Event: "warning", Message: err.Error()})
	}
	r.failures++
	_ = sleep(ctx, min(100*time.Millisecond<<min(r.failures, 10), 30*time.Second)) // Run looks at ctx
	return nil
}

// stopped is an error that does not go away when the same thing is done again.
type stopped struct{ error }

func (s *stopped) Unwrap() error { return s.error }

// howToGoOn says what is accepted now, and what to do.
func (r *Runner) howToGoOn() string {
	phase, isOver := Idle, false
	for i, p := range r.situation.phases() {
		phase = max(phase, p)
		until := r.situation.Targets[i].until()
		isOver = isOver || !until.IsZero() && !r.place.now().Before(until)
	}
	switch {
	case phase == Idle:
		return "no new token is published; run it again once this is fixed"
	case phase == Retired:
		return "the old token is retired in some targets; run it again to finish"
	case isOver && phase == Promoted:
		return "the targets are promoted, and the deadline of the old token has passed; run it again to go on"
	}
	return fmt.Sprintf("the targets are %s, and the old and the new token are accepted; run it again to go on, or undo it with rotate abort", phase)
}

// report completes p and passes it on.
func (r *Runner) report(p Progress) {
	if r.Progress == nil {
		return
	}
	p.Time, p.Rotation = r.place.now().UTC().Truncate(time.Second), cmp.Or(p.Rotation, r.situation.ID)
	if p.Event != "waiting" {
		r.waiting = ""
	}
	r.Progress(p)
}

// newID returns the ID of a new rotation.
func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// sameNamespace returns an error if two targets that have tokens of their own are in one
// namespace: the receivers there could not be told apart.
func (r *Runner) sameNamespace() error {
	var seen []string
	for _, t := range r.targets {
		if r.Distinct && len(r.Services) > 0 && slices.Contains(seen, t.Namespace) {
			return exitcode.Usage("--distinct with --agents takes one Secret in each namespace, and %s has several; rotate them one by one", t.Namespace)
		}
		seen = append(seen, t.Namespace)
	}
	return nil
}
