package auto

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A Phase is how far a target is.
type Phase uint8

// The phases, in order.
const (
	Idle     Phase = iota // no rotation is under way
	Staged                // receivers get the new token, and senders send the old one
	Promoted              // senders change over to the new one
	Retired               // this rotation is over
)

func (p Phase) String() string {
	return [...]string{"idle", "staged", "promoted", "retired"}[p]
}

// A Target is a source that is rotated.
type Target struct {
	Namespace string // "" for a file or a directory
	content.Source
	Mark Mark

	written any // what the place needs for the next write
}

// Phase returns how far the target is in the rotation id. The content says more than the
// mark, because people may do steps by hand.
func (t Target) Phase(id string, now time.Time) Phase {
	live := slices.ContainsFunc(t.Previous, func(s content.Superseded) bool {
		return s.Live(now) && !t.Refuses(s.Token) && s.Token.ID() != t.Current.ID()
	})
	switch {
	case t.Mark.Step == Promoted.String():
		return Promoted
	case id != "" && t.Mark.ID == id && t.Mark.Step == Retired.String():
		return Retired
	case len(t.Next) > 0:
		return Staged
	case live:
		return Promoted
	}
	return Idle
}

// declaresSame reports whether t and other are one target with the same tokens in each slot.
func (t Target) declaresSame(other Target) bool {
	for _, slot := range []rotation.Slot{rotation.Current, rotation.Next, rotation.Previous} {
		if !slices.EqualFunc(t.In(slot), other.In(slot), func(a, b content.Credential) bool { return a.ID() == b.ID() }) {
			return false
		}
	}
	return t.Name == other.Name
}

// until returns when the last superseded token of t is refused; zero for never.
func (t Target) until() (last time.Time) {
	for _, s := range t.Previous {
		if s.Until.IsZero() {
			return time.Time{}
		}
		if s.Until.After(last) {
			last = s.Until
		}
	}
	return last
}

// A Situation is everything that [Decide] looks at.
type Situation struct {
	Settings
	ID      string // of the rotation that this run works on; "" before it knows
	Targets []Target
	Now     time.Time     // of the API server
	Waited  time.Duration // how long this run has seen all targets in the phase of the first

	// Loaded and Unused are what the receivers say, and Rollouts how far the senders are. Each
	// is nil if nobody looked since the last wait.
	Loaded, Unused *Answers
	Rollouts       []Rollout
}

// Answers are what receivers say.
type Answers struct {
	Asked int
	Late  []string // who is not ready, and why
}

// A Rollout is how far a workload is that sends.
type Rollout struct {
	Name     string
	Started  bool // its pods are to be those of this rotation
	Complete bool // and all are, and the others are gone
	Progress string
	Stuck    string // why it does not go on by itself; "" while it does
}

// An Action is what to do next.
type Action struct {
	Do  Do
	At  []int         // indices of the targets, or of the rollouts for Restart
	For time.Duration // how long to wait, at most
	Why string        // what it waits for, or why it stops

	ID    string // of the rotation under way; "" if there is none yet
	Phase Phase  // of the targets that are behind
}

// Do is a kind of action.
type Do uint8

// The actions.
const (
	Stop       Do = iota // give up; both tokens stay accepted
	Finish               // all is done
	Stage                // in the targets At
	Adopt                // mark the targets At, which were promoted by hand
	AskLoaded            // ask the receivers whether they have the new token
	Promote              // in the targets At
	Extend               // the deadline of the old token in the targets At
	LookAtPods           // look how far the rollouts are
	Restart              // the workloads At
	AskUnused            // ask the receivers whether they saw the old token
	Retire               // in the targets At
	Wait                 // and look again
)

// Pauses between two looks.
const (
	lookEvery   = 5 * time.Second
	unusedEvery = 15 * time.Second // the old token is watched for minutes
)

// Decide returns what to do next. It is a pure function.
func Decide(s Situation) Action {
	own := s.ID
	for _, t := range s.Targets {
		isUnderWay := t.Mark.isOpen() && (len(t.Next) > 0 || t.Mark.Step == Promoted.String())
		switch {
		case own != "" && t.Mark.ID == own && t.Mark.Step == aborted:
			return stop("somebody has aborted this rotation in %s; nothing more is done", t.Name)
		case !isUnderWay:
		case s.ID == "":
			s.ID = t.Mark.ID
		case t.Mark.ID != s.ID:
			return stop("%s is in the rotation %s, and others are in %s; let one end before the other begins, or undo one with rotate abort", t.Name, t.Mark.ID, s.ID)
		}
	}
	phases := s.phases()
	for _, t := range s.Targets {
		if text := t.unfit(); text != "" {
			return stop("%s: %s", t.Name, text)
		}
	}
	first, last := slices.Min(phases), slices.Max(phases)
	behind := indices(phases, func(p Phase) bool { return p == first })
	var a Action
	switch {
	case first == Retired:
		a = Action{Do: Finish}
	case last-first > 1:
		return stop("the targets are in different steps: %s; bring them to the same step by hand first (tokenagent rotate status shows it)", describe(s.Targets, phases))
	case first == Idle && last == Idle && own != "":
		return stop("somebody has ended this rotation by hand; nothing more is done")
	case first == Idle:
		a = s.begin(behind, last)
	case first == Staged:
		a = s.staged(behind)
	default:
		a = s.promoted(behind)
	}
	a.ID, a.Phase = s.ID, first
	return a
}

// phases returns the phase of each target. A copy of one that was promoted or retired is as far as
// the rotation can bring it, even if it was made meanwhile.
func (s Situation) phases() []Phase {
	phases := make([]Phase, len(s.Targets))
	isNew := func(t Target) bool {
		return slices.ContainsFunc(s.Targets, func(other Target) bool {
			isRetired := s.ID != "" && other.Mark.ID == s.ID && other.Mark.Step == Retired.String()
			return (other.Mark.Step == Promoted.String() || isRetired) && other.Current.ID() == t.Current.ID()
		})
	}
	for i, t := range s.Targets {
		phases[i] = t.Phase(s.ID, s.Now)
		if phases[i] == Idle && isNew(t) {
			phases[i] = Retired
		}
	}
	return phases
}

func stop(format string, args ...any) Action {
	return Action{Do: Stop, Why: fmt.Sprintf(format, args...)}
}

// unfit says why t cannot be rotated, and "" if it can.
func (t Target) unfit() string {
	switch {
	case !t.HasCurrent() && !t.IsKeySet:
		return "it has no current " + t.Kind.Noun() + " of the client; add it with tokenagent rotate add-client, or check --client"
	case t.IsKeySet:
		return "a key set has no current key; use the steps stage, promote and retire"
	case t.NoRoom != "":
		return t.NoRoom
	case len(t.Next) > 1:
		return fmt.Sprintf("%d tokens are staged; leave one of them, with rotate stage --replace", len(t.Next))
	case t.Refuses(t.Current):
		return "the current " + t.Kind.Noun() + " is revoked, and every sender is refused; use stage and promote by hand, which is faster"
	}
	return ""
}

// begin begins a rotation in the idle targets.
func (s Situation) begin(idle []int, last Phase) Action {
	for _, t := range s.Targets {
		what := map[string]string{Retired.String(): "rotated", aborted: "aborted"}[t.Mark.Step]
		if age := s.Now.Sub(t.Mark.Since); last == Idle && what != "" && age > -time.Minute && age < s.MinAge {
			return Action{Do: Finish, Why: fmt.Sprintf("%s was %s %s ago, less than --min-age %s", t.Name, what, max(age, 0).Round(time.Second), s.MinAge)}
		}
	}
	return Action{Do: Stage, At: idle}
}

// staged waits until every receiver has the new token.
func (s Situation) staged(at []int) Action {
	switch {
	case !s.HasReceivers && s.Waited < s.StageWait:
		return Action{Do: Wait, For: s.StageWait - s.Waited, Why: "until every receiver has the new token"}
	case !s.HasReceivers:
		return Action{Do: Promote, At: at}
	case s.Loaded == nil:
		return Action{Do: AskLoaded}
	}
	if a := s.await(s.Loaded, "have the new token", s.Waited >= s.Timeout); a.Do != Finish {
		return a
	}
	return Action{Do: Promote, At: at}
}

// await returns Finish if all receivers are ready. Otherwise it waits for them, unless the
// time is over.
func (s Situation) await(a *Answers, what string, over bool) Action {
	why := fmt.Sprintf("%d of %d receivers %s", a.Asked-len(a.Late), a.Asked, what)
	if a.Asked == 0 {
		why = "no receiver is there"
		a.Late = []string{"one pod is behind the Services of --agents"}
	}
	switch {
	case len(a.Late) == 0:
		return Action{Do: Finish}
	case over:
		return stop("%s after %s; not yet: %s; fix these receivers", why, s.Waited.Round(time.Second), content.ShortList(a.Late))
	}
	return Action{Do: Wait, For: lookEvery, Why: fmt.Sprintf("%s; not %s", why, a.Late[0])}
}

// promoted waits until every sender has the new token, and nobody uses the old one.
func (s Situation) promoted(at []int) Action {
	if without := slices.DeleteFunc(slices.Clone(at), func(i int) bool { return s.Targets[i].Mark.Step == Promoted.String() }); len(without) > 0 {
		return Action{Do: Adopt, At: without}
	}
	if s.HasSenders {
		if s.Rollouts == nil {
			return Action{Do: LookAtPods}
		}
		for _, r := range s.Rollouts {
			if r.Stuck != "" {
				return stop("%s: %s", r.Name, r.Stuck)
			}
		}
		isOver := !slices.ContainsFunc(s.Rollouts, func(r Rollout) bool { return !r.Complete })
		if near := s.near(at); len(near) > 0 && !isOver && s.Waited < s.Timeout {
			return Action{Do: Extend, At: near}
		}
		if late := indices(s.Rollouts, func(r Rollout) bool { return !r.Started }); len(late) > 0 {
			return Action{Do: Restart, At: late}
		}
		for _, r := range s.Rollouts {
			switch {
			case r.Complete:
			case s.Waited >= s.Timeout:
				return stop("%s is not restarted after %s: %s; fix its pods", r.Name, s.Waited.Round(time.Second), r.Progress)
			default:
				return Action{Do: Wait, For: lookEvery, Why: r.Name + " restarts: " + r.Progress}
			}
		}
	}
	var until time.Time // when the old token of every target is refused
	open := false       // some have no deadline
	for _, i := range at {
		u := s.Targets[i].until()
		open = open || u.IsZero() && len(s.Targets[i].Previous) > 0
		if u.After(until) {
			until = u
		}
	}
	left := until.Sub(s.Now)
	switch {
	case s.HasReceivers && s.Unused == nil:
		return Action{Do: AskUnused}
	case s.HasReceivers:
		a := s.await(s.Unused, "do not need the old token", !open && -left >= s.Timeout && s.Waited >= s.Timeout)
		if a.Do == Finish {
			return Action{Do: Retire, At: at}
		}
		a.For = unusedEvery
		return a
	case open:
		return stop("the old token has no deadline, and no receiver can be asked whether it is still used; name them with --agents, or use rotate retire")
	case left > 0:
		return Action{Do: Wait, For: left, Why: "until the old token's deadline, " + content.Deadline(until)}
	}
	return Action{Do: Retire, At: at}
}

// near returns those of the targets at that must get a later deadline now, if senders need the
// old token any longer. One that has passed stays: the old token is refused already.
func (s Situation) near(at []int) (near []int) {
	if s.Overlap < s.LeastOverlap() {
		return nil
	}
	for _, i := range at {
		if left := s.Targets[i].until().Sub(s.Now); left > 0 && left < max(s.Overlap/2, s.reach()) {
			near = append(near, i)
		}
	}
	return near
}

func indices[T any](all []T, is func(T) bool) (at []int) {
	for i, v := range all {
		if is(v) {
			at = append(at, i)
		}
	}
	return at
}

// describe lists the phases of the targets.
func describe(targets []Target, phases []Phase) string {
	var all []string
	for _, p := range []Phase{Idle, Staged, Promoted, Retired} {
		var names []string
		for i, t := range targets {
			if phases[i] == p {
				names = append(names, t.Name)
			}
		}
		if len(names) > 0 {
			all = append(all, p.String()+": "+content.ShortList(names))
		}
	}
	return strings.Join(all, "; ")
}
