package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A screen shows what happens, in lines of at most 80 columns. On a terminal it also shows
// how much of the overlap is left, and uses colours (ECMA-48).
type screen struct {
	out      io.Writer
	terminal bool
	began    time.Time

	old   string    // fingerprint of the superseded token; "" without an overlap
	until time.Time // the end of its overlap
	total time.Duration
}

const (
	red, green, plain = "\x1b[31m", "\x1b[32m", "\x1b[m"
	clearLine         = "\r\x1b[K"
)

// line writes a sentence, with the time since the start.
func (s *screen) line(format string, args ...any) {
	fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// score writes how many requests had a wrong answer so far.
func (s *screen) score(onceRefused, onceAccepted, agentRefused, agentAccepted int) {
	fmt.Fprintf(s.out, "        %-30s %s\n        %-30s %s\n",
		"the server that reads once:", s.colour(onceRefused+onceAccepted, "%d wrongly refused, %d wrongly accepted", onceRefused, onceAccepted),
		"the server with the agent:", s.colour(agentRefused+agentAccepted, "%d wrongly refused, %d wrongly accepted", agentRefused, agentAccepted))
}

// colour formats text, on a terminal in red if bad is not 0, and else in green.
func (s *screen) colour(bad int, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	switch {
	case !s.terminal:
		return text
	case bad > 0:
		return red + text + plain
	default:
		return green + text + plain
	}
}

// overlap begins the bar of the overlap of a token.
func (s *screen) overlap(old string, d time.Duration) {
	s.old, s.until, s.total = old, time.Now().Add(d), d
}

// wait waits for d, and shows the bar meanwhile. It fails if ctx ends first.
func (s *screen) wait(ctx context.Context, d time.Duration) error {
	if !s.terminal {
		return pause(ctx, d)
	}
	defer fmt.Fprint(s.out, clearLine)
	for end := time.Now().Add(d); time.Now().Before(end); {
		fmt.Fprint(s.out, clearLine+s.bar(time.Now()))
		if err := pause(ctx, min(100*time.Millisecond, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}

// bar shows how much of the overlap is left at now.
func (s *screen) bar(now time.Time) string {
	const width = 30
	left := s.until.Sub(now)
	switch {
	case s.old == "":
		return "        one token is accepted"
	case left <= 0:
		return "        " + s.old + " " + strings.Repeat("░", width) + " refused: its overlap is over"
	}
	n := min(width, int(width*left/s.total)+1)
	return fmt.Sprintf("        %s %s%s still accepted for %.1fs", s.old, strings.Repeat("█", n), strings.Repeat("░", width-n), left.Seconds())
}
