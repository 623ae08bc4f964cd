package plan

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A progress tells how far the simulation is, once it takes over a second: on a
// terminal in one line that is overwritten, elsewhere in lines of their own. It
// is not safe for concurrent use.
type progress struct {
	out   io.Writer
	live  bool
	total int
	next  time.Time // when to tell again
	width int       // of what stands on the terminal
}

// How often it is told, with and without a terminal.
const (
	liveEvery  = 200 * time.Millisecond
	plainEvery = 2 * time.Second
)

func newProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total, next: time.Now().Add(time.Second)}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.live = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return p
}

// report notes that so many rotations are finished.
func (p *progress) report(finished int) {
	at := time.Now()
	if at.Before(p.next) || finished == p.total {
		return
	}
	line := fmt.Sprintf("tokenagent: simulated %d of %d rotations", finished, p.total)
	if !p.live {
		p.next = at.Add(plainEvery)
		fmt.Fprintln(p.out, line)
		return
	}
	p.next = at.Add(liveEvery)
	fmt.Fprintf(p.out, "\r%-*s", p.width, line)
	p.width = max(p.width, len(line))
}

// end takes the line off the terminal.
func (p *progress) end() {
	if p.width > 0 {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
