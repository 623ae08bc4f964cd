package model

import (
	"cmp"
	"slices"
	"time"

	tokens "github.com/tokenagent/tokenagent/internal/token"
)

// A run drives the real code through a world. It advances the fake clock of a
// testing/synctest bubble.
type run struct {
	*world
	base     time.Time
	lives    []life
	parsed   map[reading]tokens.Tokens
	tokens   []token
	expiry   map[token]expiry
	arriving []token // the tokens of messages that can arrive now
	checks   int     // the number of answers checked
	err      error   // an error of the test, not a violation
}

type reading struct {
	version int
	skew    time.Duration
}

// A life is the state of one receiver during a run.
type life struct {
	process
	disk   disk
	real   *service // if not nil, it answers instead of the process
	twin   *process // the same receiver without restarts; nil if it has none
	up     bool
	steps  []step
	oracle *oracle
}

// answer presents k to the real agent, or to the process if there is none.
func (l *life) answer(k token) answer {
	if l.real != nil {
		return l.real.present(k)
	}
	return l.present(k)
}

// run returns the first violation in w, or nil, and the number of answers that it
// checked.
func (w *world) run() (*violation, int, error) { return w.runOn(nil) }

// runOn is run with real agents as the receivers, unless services is nil.
func (w *world) runOn(services []*service) (*violation, int, error) {
	r := &run{world: w, base: time.Now().Truncate(second).Add(second), parsed: map[reading]tokens.Tokens{}, expiry: w.expiries()}
	steps := make([][]step, len(w.receivers))
	for i := range w.receivers {
		x := &w.receivers[i]
		steps[i] = w.steps(x)
		for j := range w.sends {
			if s := &w.sends[j]; s.receiver == i {
				steps[i] = append(steps[i], step{at: s.at, do: gets, send: s})
			}
		}
		slices.SortStableFunc(steps[i], func(a, b step) int { return cmp.Compare(a.at, b.at) })
		l := life{process: process{window: w.window}, steps: steps[i], oracle: newOracle(w.window, x.skew), up: true}
		if len(x.restarts) > 0 {
			l.twin = &process{window: w.window}
		}
		if services != nil {
			l.real = services[i]
		}
		r.lives = append(r.lives, l)
	}
	for i := range w.versions {
		for _, k := range []token{w.versions[i].current, w.versions[i].next} {
			if k != none && !slices.Contains(r.tokens, k) {
				r.tokens = append(r.tokens, k)
			}
		}
	}
	r.tokens = append(r.tokens, undeclared)
	v := r.follow(w.moments(steps))
	return v, r.checks, r.err
}

func (r *run) now() time.Duration { return time.Since(r.base) }

func (r *run) follow(moments []moment) *violation {
	for len(moments) > 0 {
		t := moments[0].at
		n := 1
		for n < len(moments) && moments[n].at == t {
			n++
		}
		group := moments[:n]
		moments = moments[n:]
		if slices.ContainsFunc(group, func(m moment) bool { return m.deadline }) && r.now() < t-1 {
			time.Sleep(t - 1 - r.now())
			if v := r.each(group, r.look); v != nil {
				return v
			}
		}
		time.Sleep(t - r.now())
		if t > 0 {
			if v := r.each(group, r.look); v != nil {
				return v
			}
		}
		if v := r.each(group, r.proceed); v != nil || r.err != nil {
			return v
		}
		if t == r.settled || t == r.end {
			if v := r.converged(t == r.end); v != nil {
				return v
			}
		}
	}
	return nil
}

// each calls f for the receivers of group. If a moment of group is for all receivers,
// each calls f for all. mine says whether group has a moment of receiver i itself.
func (r *run) each(group []moment, f func(i int, mine bool) *violation) *violation {
	r.arriving = r.arriving[:0]
	everybody := group[0].receiver == all // all sorts first
	if everybody && r.sends == nil {
		for s := range r.senders {
			for _, h := range r.senders[s].holds {
				if !slices.Contains(r.arriving, h.token) && r.senders[s].arrives(h.token, r.now(), r.flight) {
					r.arriving = append(r.arriving, h.token)
				}
			}
		}
	}
	for i := range r.lives {
		for len(group) > 0 && group[0].receiver < i {
			group = group[1:]
		}
		if mine := len(group) > 0 && group[0].receiver == i; mine || everybody {
			if v := f(i, mine); v != nil {
				return v
			}
		}
	}
	return nil
}

// proceed runs the steps of receiver i that are due, and checks the answers after
// each step.
func (r *run) proceed(i int, _ bool) *violation {
	l := &r.lives[i]
	for len(l.steps) > 0 && l.steps[0].at <= r.now() {
		s := l.steps[0]
		l.steps = l.steps[1:]
		switch s.do {
		case sees:
			tokens, err := r.read(s.version, r.receivers[i].skew)
			if err != nil {
				r.err = err
				return nil
			}
			l.see(tokens, time.Now())
			if l.real != nil {
				if r.err = l.real.see(&r.versions[s.version], r.base, r.receivers[i].skew); r.err != nil {
					return nil
				}
			}
			if l.twin != nil {
				l.twin.see(tokens, time.Now())
			}
			l.oracle.see(&r.versions[s.version], r.now())
		case stops:
			l.disk, l.up = l.write(time.Now()), false
			if l.real != nil {
				if r.err = l.real.stop(); r.err != nil {
					return nil
				}
			}
			continue
		case starts:
			if l.up = true; s.keeps {
				l.process = start(r.window, l.disk, time.Now())
			} else {
				l.process = process{window: r.window}
				l.oracle.forget()
				if l.real != nil {
					r.err = l.real.forget()
				}
			}
			continue // the next step is what the receiver sees at its start
		case gets:
			if v := r.get(i, s.send); v != nil {
				return v
			}
		}
		if v := r.check(i, r.tokens); v != nil {
			return v
		}
	}
	return nil
}

func (r *run) read(version int, skew time.Duration) (tokens.Tokens, error) {
	key := reading{version, skew}
	tokens, ok := r.parsed[key]
	if !ok {
		var err error
		if tokens, err = r.versions[version].parse(r.base, skew); err != nil {
			return tokens, err
		}
		r.parsed[key] = tokens
	}
	return tokens, nil
}

// get delivers the message s to receiver i.
func (r *run) get(i int, s *send) *violation {
	l := &r.lives[i]
	if !l.up {
		return nil // a receiver that is down refuses nobody
	}
	r.checks++
	got := l.present(s.token)
	if l.twin != nil {
		l.twin.present(s.token)
	}
	want, kind := l.oracle.judge(s.token, r.now())
	bad := violation{at: r.now(), receiver: i, sender: s.sender, token: s.token, got: got}
	switch {
	case !got.ok():
		bad.kind = refusedSender
		return &bad
	case want == refuse:
		bad.kind = kind
		return &bad
	}
	l.oracle.use(s.token, r.now())
	return nil
}
