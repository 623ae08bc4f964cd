package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A world is one history: the versions, and when each receiver and sender sees them.
// Times count from the beginning of the history.
type world struct {
	window    rotation.Window
	versions  []version
	receivers []receiver
	senders   []sender
	// sends lists all messages. If it is nil, every sender sends to every receiver at
	// every moment, each message takes every time up to flight, and the events of one
	// moment happen in every order.
	sends  []send
	flight time.Duration
	// checkRestarts makes an answer that a restart changed a violation.
	checkRestarts bool
	// settled is when all receivers have seen the last version. end is when all
	// windows are over as well.
	settled, end time.Duration
	// reached is how long it takes until all receivers have seen a version.
	reached time.Duration
	// weight is how far the history is from the simplest one.
	weight int
}

// A receiver sees versions. It never sees an older one after a newer one.
type receiver struct {
	skew     time.Duration // how far its clock is ahead
	sees     []sight
	restarts []restart
}

// A sight is the moment at which a version reaches a receiver.
type sight struct {
	at      time.Duration
	version int
}

// A restart stops the process at the moment at, and starts another one after down.
// The new process reads the version that its mount holds at that moment.
type restart struct {
	at, down time.Duration
	keeps    bool // it has a state file
	newest   bool // it reads the newest version, as the pod that replaces another does
}

// A sender holds one token after another, the first one from the beginning.
type sender struct{ holds []hold }

// A hold is the moment from which a sender sends the token.
type hold struct {
	from  time.Duration
	token token
}

// A send is one message.
type send struct {
	at               time.Duration // when the message arrives
	sender, receiver int
	token            token
}

// kind says which invariant was broken.
type kind uint8

const (
	refusedSender      kind = iota + 1 // I1
	acceptedLate                       // I2: accepted at or after its deadline
	acceptedRevoked                    // I2: accepted after the receiver saw it revoked
	acceptedUndeclared                 // I3
	changedByRestart                   // I4
	diverged                           // I5
	refusedDeclared                    // I2: refused although the receiver has seen it declared
	outlived                           // I2': accepted past the until that the operator wrote
)

var kinds = [...]string{"", "a sender is refused", "accepted past its deadline", "accepted although revoked", "an undeclared token is accepted", "a restart changed the answer", "receivers disagree", "a declared token is refused", "accepted past the operator's deadline"}

func (k kind) String() string { return kinds[k] }

// A violation is a wrong answer in a history.
type violation struct {
	kind             kind
	at               time.Duration
	receiver, sender int // sender is -1 if no sender is involved
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

// A step is one event at a receiver.
type step struct {
	at      time.Duration
	do      action
	version int
	keeps   bool
	send    *send
}

type action uint8

const (
	sees action = iota
	stops
	starts
	gets
)

// steps returns all events at receiver r, in order. It leaves out the versions that
// arrive while r is down, or after a newer one. The version that r reads at its start
// follows the start.
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

// arrives reports whether a message of s with the token k can arrive at the moment t.
func (s *sender) arrives(k token, t, flight time.Duration) bool {
	for i, h := range s.holds {
		if h.token == k && h.from <= t && (i+1 == len(s.holds) || t <= s.holds[i+1].from+flight) {
			return true
		}
	}
	return false
}

// moments returns the moments at which an answer can change. The events and deadlines
// of a receiver are moments of that receiver. The events of a sender are moments of all
// receivers.
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

// A moment is a time at which answers can change. deadline says that the run also
// checks one nanosecond before it.
type moment struct {
	at       time.Duration
	receiver int // or all
	deadline bool
}

const all = -1
