package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A world is one history: what is published, and when each receiver and sender
// takes notice. Times are since its beginning.
type world struct {
	window    rotation.Window
	versions  []version
	receivers []receiver
	senders   []sender
	// flight is how long at most a message is under way. Every sender sends to
	// every receiver at every moment, each message takes every time up to that,
	// and at one moment things happen in every order; unless sends says which
	// there are.
	flight time.Duration
	sends  []send
	// restartsShow has an answer that a restart changed count as a violation.
	restartsShow bool
	// settled is when everybody has seen the last version, end when all windows
	// are over too.
	settled, end time.Duration
	// reached is how long after a version everybody has seen it.
	reached time.Duration
	// weight is how far from plain the history is.
	weight int
}

// A receiver sees versions, older ones never after newer ones.
type receiver struct {
	skew     time.Duration // its clock is so much ahead
	sees     []sight
	restarts []restart
}

type sight struct {
	at      time.Duration
	version int
}

// A restart ends the process and starts another one, which reads what the old
// one would see by then, or the newest there is.
type restart struct {
	at, down time.Duration
	keeps    bool // through a state file
	newest   bool // as a pod that is replaced does
}

// A sender holds one token after the other, the first from the beginning.
type sender struct{ holds []hold }

type hold struct {
	from  time.Duration
	token token
}

type send struct {
	at               time.Duration // of its arrival
	sender, receiver int
	token            token
}

// kind says which invariant was broken.
type kind uint8

const (
	refusedSender    kind = iota + 1 // I1: a sender was refused
	acceptedLate                     // I2: at or after its deadline
	acceptedRevoked                  // I2: after the receiver saw it revoked
	acceptedStranger                 // I3: never declared
	changedByRestart                 // I4
	diverged                         // I5
	refusedDeclared                  // what the receiver has seen grants it, sender or no
	outlived                         // the until that the operator wrote, once all have seen it
)

var kinds = [...]string{"", "a sender is refused", "accepted past its deadline", "accepted though revoked", "a stranger is accepted", "a restart changed the answer", "receivers disagree", "refused against what is declared", "accepted past the operator's deadline"}

func (k kind) String() string { return kinds[k] }

// A violation is the first thing in a history that must not be.
type violation struct {
	kind             kind
	at               time.Duration
	receiver, sender int // sender -1 for none
	token            token
	got              answer
}

func (v *violation) String() string {
	who := ""
	if v.sender >= 0 {
		who = fmt.Sprintf(" of sender %d", v.sender)
	}
	return fmt.Sprintf("receiver %d answers %s to %s%s: %s", v.receiver, v.got, v.token, who, v.kind)
}

// A step is what befalls a receiver at one moment.
type step struct {
	at      time.Duration
	do      deed
	version int
	keeps   bool
	send    *send
}

type deed uint8

const (
	sees deed = iota
	stops
	starts
	gets
)

// steps returns all that befalls receiver r, in order. It ignores what it would
// see while it is down or has seen newer; what it reads at its start follows that
// at once.
func (w *world) steps(r *receiver) []step {
	var out []step
	seen := -1
	show := func(at time.Duration, version int) {
		if version > seen {
			seen = version
			out = append(out, step{at: at, do: sees, version: version})
		}
	}
	next := 0
	mounted := 0
	until := func(t time.Duration, up bool) {
		for ; next < len(r.sees) && r.sees[next].at <= t; next++ {
			mounted = max(mounted, r.sees[next].version)
			if last := next+1 == len(r.sees) || r.sees[next+1].at != r.sees[next].at; up && last {
				show(r.sees[next].at, mounted)
			}
		}
	}
	for _, x := range r.restarts {
		until(x.at, true)
		out = append(out, step{at: x.at, do: stops})
		until(x.at+x.down, false)
		if x.newest {
			for i := range w.versions {
				if w.versions[i].at <= x.at+x.down {
					mounted = i
				}
			}
		}
		mounted = max(mounted, seen)
		seen = mounted - 1
		out = append(out, step{at: x.at + x.down, do: starts, keeps: x.keeps})
		show(x.at+x.down, mounted)
	}
	until(1<<62, true)
	return out
}

// holding reports whether a message of s with k can arrive at the moment t.
func (s *sender) arrives(k token, t, flight time.Duration) bool {
	for i, h := range s.holds {
		if h.token == k && h.from <= t && (i+1 == len(s.holds) || t <= s.holds[i+1].from+flight) {
			return true
		}
	}
	return false
}

// moments returns when something happens, with the receivers that it is about:
// what each sees and each deadline is about that one, what a sender does about
// all. In between no answer changes.
func (w *world) moments(steps [][]step) []moment {
	var out []moment
	for r := range w.receivers {
		current := none
		for _, s := range steps[r] {
			out = append(out, moment{at: s.at, receiver: r})
			if s.do != sees {
				continue
			}
			v := &w.versions[s.version]
			if current != none && v.current != current {
				out = append(out, moment{s.at + max(w.window.Overlap, w.window.MaxOverlap), r, true})
			}
			current = v.current
		}
		for i := range w.versions {
			for _, p := range w.versions[i].previous {
				if p.until != 0 {
					out = append(out, moment{p.until - w.receivers[r].skew, r, true})
				}
			}
		}
	}
	if w.sends == nil {
		for _, s := range w.senders {
			for i, h := range s.holds {
				out = append(out, moment{at: h.from, receiver: all})
				if i > 0 {
					out = append(out, moment{at: h.from + w.flight, receiver: all})
				}
			}
		}
	}
	out = append(out, moment{at: w.settled, receiver: all}, moment{at: w.end, receiver: all})
	out = slices.DeleteFunc(out, func(m moment) bool { return m.at < 0 || m.at > w.end })
	slices.SortFunc(out, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.receiver, b.receiver)) })
	return slices.Compact(out)
}

type moment struct {
	at       time.Duration
	receiver int // or all
	deadline bool
}

const all = -1
