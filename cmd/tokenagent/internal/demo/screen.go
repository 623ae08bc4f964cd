package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// A screen shows what happens. On a terminal it redraws the table in place below the
// events; elsewhere it prints the events, and the table at the end.
type screen struct {
	account *account
	began   time.Time
	live    bool

	mu    sync.Mutex
	out   io.Writer
	drawn int // lines of the table that are on the terminal
}

func newScreen(out io.Writer, a *account) *screen {
	s := &screen{account: a, out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.live = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return s
}

func (s *screen) redraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw()
}

// event prints a line about what has just happened.
func (s *screen) event(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	if s.live {
		s.draw()
	}
}

// erase takes the table off the terminal: up, and clear to the end (ECMA-48 CUU and ED).
func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	s.erase()
	text := s.account.table()
	_, _ = io.WriteString(s.out, text)
	if s.live {
		s.drawn = strings.Count(text, "\n")
	}
}
