package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A screen shows what happens: on a terminal as a table that is redrawn in
// place below the events, elsewhere as plain lines with the table at the end.
type screen struct {
	world *world
	began time.Time
	live  bool

	mu    sync.Mutex
	out   io.Writer
	drawn int // lines of the table that stand on the terminal
}

func newScreen(out io.Writer, w *world) *screen {
	s := &screen{world: w, out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.live = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return s
}

// run redraws the table until ctx ends.
func (s *screen) run(ctx context.Context) {
	if !s.live {
		return
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.mu.Lock()
			s.draw()
			s.mu.Unlock()
		}
	}
}

// event prints a line on what has just happened.
func (s *screen) event(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	if s.live {
		s.draw()
	}
}

// finish prints the final table.
func (s *screen) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw()
}

// erase takes the table off the terminal: up, and clear to the end (ECMA-48
// CUU and ED).
func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	s.erase()
	text := table(s.world.of("http"), s.world.of("grpc"))
	_, _ = io.WriteString(s.out, text)
	if s.live {
		s.drawn = strings.Count(text, "\n")
	}
}

func table(http, grpc tally) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-24s %10s %10s\n", "", "http", "grpc")
	row := func(name string, f func(t tally) uint64) {
		fmt.Fprintf(&b, "%-24s %10d %10d\n", name, f(http), f(grpc))
	}
	row("sent", func(t tally) uint64 { return t.sent })
	for i, slot := range rotation.Slots {
		if slot != rotation.Listed { // the demo has none
			row("accepted as "+slot.String(), func(t tally) uint64 { return t.bySlot[i] })
		}
	}
	row("refused, rightly", func(t tally) uint64 { return t.refusedRightly })
	row("refused amid a change", func(t tally) uint64 { return t.straddling })
	row("no answer", func(t tally) uint64 { return t.unanswered })
	row("wrongly refused", func(t tally) uint64 { return t.wronglyRefused })
	row("wrongly let in", func(t tally) uint64 { return t.wronglyLetIn })
	return b.String()
}
