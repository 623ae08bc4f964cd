package model

import (
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// look checks the answers of receiver i that may have changed without an event at
// this receiver. mine says that the moment is a moment of receiver i itself: then
// look checks all tokens. Otherwise it checks those that a sender may send now.
func (r *run) look(i int, mine bool) *violation {
	if mine || r.now() == r.end {
		return r.check(i, r.tokens)
	}
	return r.check(i, r.arriving)
}

// check checks the answers that receiver i would give to tokens now.
func (r *run) check(i int, tokens []token) *violation {
	l := &r.lives[i]
	if !l.up || l.oracle.seen == nil {
		return nil
	}
	now := r.now()
	for _, k := range tokens {
		if k != undeclared && (k < l.oracle.seen.current-3 || k > l.oracle.seen.current+1) && l.oracle.remembered[k] == nil {
			continue // superseded long ago, or not published yet
		}
		var got answer
		if r.sends == nil {
			got = l.answer(k)
		} else {
			got = l.peek(k, time.Now())
		}
		r.checks++
		bad := violation{at: now, receiver: i, sender: -1, token: k, got: got}
		for s := range r.senders {
			if r.sends == nil && !got.ok() && r.senders[s].arrives(k, now, r.flight) {
				bad.kind, bad.sender = refusedSender, s
				return &bad
			}
		}
		switch want, kind := l.oracle.judge(k, now); {
		case want == refuse && got.ok():
			bad.kind = kind
			return &bad
		case want == refuse && kind == acceptedRevoked && got.class != verify.Revoked,
			want == refuse && kind == acceptedUndeclared && got.class != verify.Invalid,
			want == accept && !got.ok():
			bad.kind = refusedDeclared
			return &bad
		}
		if r.checkRestarts && l.twin != nil {
			if other := l.twin.peek(k, time.Now()); got.slot != other.slot {
				bad.kind = changedByRestart
				return &bad
			}
		}
		if x, ok := r.expiry[k]; ok && got.ok() && now > x.from && now+l.oracle.skew >= x.until {
			bad.kind = outlived
			return &bad
		}
	}
	return nil
}

// An expiry is the deadline that the operator gave a token. It binds every receiver
// from the moment from, when all of them have had time to see it.
type expiry struct{ until, from time.Duration }

// expiries returns the deadlines that no later version changes or withdraws.
func (w *world) expiries() map[token]expiry {
	out := make(map[token]expiry)
	for i := range w.versions {
		v := &w.versions[i]
		delete(out, v.current)
		delete(out, v.next)
		for _, p := range v.previous {
			if _, ok := out[p.token]; p.until == 0 {
				delete(out, p.token)
			} else if !ok || out[p.token].until != p.until {
				out[p.token] = expiry{p.until, v.at + w.reached}
			}
		}
	}
	return out
}

// converged checks that all receivers give the answer that the last version asks
// for. It checks only tokens that are declared without a deadline, because clocks
// differ. With everything, when all windows are over, it checks all tokens.
func (r *run) converged(everything bool) *violation {
	for i := range r.lives {
		l := &r.lives[i]
		for _, k := range r.tokens {
			slot, until := r.versions[len(r.versions)-1].slot(k)
			switch {
			case l.oracle.revoked[k]:
				slot = 0 // revocations are sticky
			case everything && until != 0:
				slot = 0 // the deadline has passed
			case !everything && (slot == 0 || until != 0):
				continue
			}
			if got := l.peek(k, time.Now()); l.up && got.slot != slot {
				return &violation{kind: diverged, at: r.now(), receiver: i, sender: -1, token: k, got: got}
			}
		}
	}
	return nil
}
