package plan

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Nothing is told in the first second; then plain lines, or one that is
// overwritten and taken away at the end.
func TestProgress(t *testing.T) {
	for _, live := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, 100)
			p.live = live
			for i := range 100 {
				time.Sleep(50 * time.Millisecond)
				p.report(i + 1)
				if i == 18 && out.Len() > 0 {
					t.Errorf("told %q within a second", out.String())
				}
			}
			p.end()
			lines := func(format string, at ...int) string {
				var s strings.Builder
				for _, n := range at {
					fmt.Fprintf(&s, format, n)
				}
				return s.String()
			}
			want := lines("tokenagent: simulated %d of 100 rotations\n", 20, 60)
			if live {
				want = lines("\rtokenagent: simulated %d of 100 rotations", 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 84, 88, 92, 96) + "\r" + strings.Repeat(" ", 41) + "\r"
			}
			if out.String() != want {
				t.Errorf("%q, want %q", out.String(), want)
			}
		})
	}
}
