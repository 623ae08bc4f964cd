package model

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// An oracle says what a receiver must answer. It uses only the versions that the
// receiver has seen and the rules of docs/rotation.md, and does not call the ledger.
type oracle struct {
	window     rotation.Window
	skew       time.Duration // how far the receiver's clock is ahead
	seen       *version
	known      map[token]bool
	revoked    map[token]bool // sticky
	remembered map[token]*remembered
}

// A remembered token was current, and the source does not declare it any more.
type remembered struct {
	from, end time.Duration // when it was superseded, and the latest end of its window
	opened    bool          // whether a newer token was used; for a sliding window
	renewed   time.Duration // the last use since then
}

func newOracle(w rotation.Window, skew time.Duration) *oracle {
	return &oracle{window: w, skew: skew, known: map[token]bool{}, revoked: map[token]bool{}, remembered: map[token]*remembered{}}
}

func (o *oracle) slides() bool { return o.window.MaxOverlap > 0 && o.window.Overlap > 0 }

// see records that the receiver sees the version v at the moment at.
func (o *oracle) see(v *version, at time.Duration) {
	length := max(o.window.Overlap, 0)
	if o.slides() {
		length = max(length, o.window.MaxOverlap)
	}
	if o.seen != nil && length > 0 {
		if was, _ := o.seen.slot(o.seen.current); was != 0 && !o.revoked[o.seen.current] {
			o.remembered[o.seen.current] = &remembered{from: at, end: at + length}
		}
	}
	for _, k := range v.unrevoked { // a line takes effect when it appears, not while it stays
		if o.seen == nil || !slices.Contains(o.seen.unrevoked, k) || slices.Contains(o.seen.revoked, k) {
			delete(o.revoked, k)
		}
	}
	for _, k := range v.revoked {
		o.revoked[k] = true
	}
	for k := range o.remembered {
		if slot, _ := v.slot(k); slot != 0 || o.revoked[k] || slices.Contains(v.retired, k) {
			delete(o.remembered, k)
		}
	}
	o.seen = v
	for _, k := range slices.Concat([]token{v.current, v.next}, v.revoked, v.retired, v.unrevoked) {
		o.known[k] = true
	}
	for _, p := range v.previous {
		o.known[p.token] = true
	}
}

// forget records a restart without a state file.
func (o *oracle) forget() {
	o.seen = nil
	clear(o.remembered)
	clear(o.revoked)
}

// use records that k was presented and accepted at the moment at.
func (o *oracle) use(k token, at time.Duration) {
	if !o.slides() {
		return
	}
	own := o.remembered[k]
	slot, _ := o.seen.slot(k)
	for other, r := range o.remembered {
		switch {
		case other == k && r.opened:
			r.renewed = at
		case r.opened || other == k:
		case slot == rotation.Current, own != nil && r.from < own.from:
			r.opened, r.renewed = true, at
		}
	}
}

// A verdict says what an answer must be. In the last grain of a sliding window either
// answer is right, because the ledger records at most one use a grain.
type verdict uint8

const (
	refuse verdict = iota
	accept
	either
)

// judge returns the verdict about k at the moment at, and the kind of violation if
// a receiver accepts k against a verdict of refuse.
func (o *oracle) judge(k token, at time.Duration) (verdict, kind) {
	if o.revoked[k] {
		return refuse, acceptedRevoked
	}
	if !o.known[k] {
		return refuse, acceptedUndeclared
	}
	switch slot, until := o.seen.slot(k); {
	case slot == rotation.Previous && until != 0:
		if at+o.skew < until {
			return accept, 0
		}
		return refuse, acceptedLate
	case slot != 0:
		return accept, 0
	}
	r := o.remembered[k]
	switch {
	case r == nil || at >= r.end:
		return refuse, acceptedLate
	case !o.slides() || !r.opened:
		return accept, 0
	}
	end := min(r.renewed+o.window.Overlap, r.end)
	switch grain := min(time.Second, o.window.Overlap/4); {
	case at >= end:
		return refuse, acceptedLate
	case at >= end-grain:
		return either, 0
	}
	return accept, 0
}
