package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// timeline returns the events that led to v, one a line: the versions, the events of
// the receiver and the sender of v, and v itself.
func (w *world) timeline(v *violation) string {
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	say := func(at time.Duration, format string, args ...any) {
		if at <= v.at {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	for i := range w.versions {
		say(w.versions[i].at, "published %d, %s", i, &w.versions[i])
	}
	if r := &w.receivers[v.receiver]; r.skew != 0 {
		say(0, "receiver %d has a clock that is %s ahead", v.receiver, r.skew)
	}
	for s := range w.senders {
		if s != v.sender && w.sends == nil {
			continue
		}
		for _, h := range w.senders[s].holds {
			say(h.from, "sender %d takes %s", s, h.token)
		}
	}
	for i, s := range w.sends {
		if s.receiver == v.receiver && (s.at < v.at || v.sender < 0) {
			say(s.at, "receiver %d gets %s of sender %d", s.receiver, s.token, w.sends[i].sender)
		}
	}
	for _, s := range w.steps(&w.receivers[v.receiver]) {
		switch s.do {
		case sees:
			say(s.at, "receiver %d sees %d", v.receiver, s.version)
		case stops:
			say(s.at, "receiver %d stops", v.receiver)
		case starts:
			say(s.at, "receiver %d starts, with%s its state", v.receiver, map[bool]string{false: "out"}[s.keeps])
		case gets:
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	var out strings.Builder
	for _, l := range append(lines, line{v.at, v.String()}) {
		fmt.Fprintf(&out, "%6s  %s\n", clock(l.at), l.text)
	}
	return out.String()
}

// clock formats d in seconds, and more exactly if d is not a whole number of seconds.
func clock(d time.Duration) string {
	if d%second == 0 {
		return fmt.Sprintf("%ds", d/second)
	}
	return d.String()
}
