package agent

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// BenchmarkStep measures a change of the token after its bytes are read, with several
// numbers of superseded tokens that are still accepted or have ended.
func BenchmarkStep(b *testing.B) {
	contentOf := func(i int) reload.Content {
		return reload.Content{Data: fmt.Appendf(nil, "%0200d\n", i), Path: "token"}
	}
	for _, n := range []int{0, 1, 250} {
		for _, ended := range []bool{false, true} {
			name := strconv.Itoa(n) + " accepted"
			if ended {
				name = strconv.Itoa(n) + " ended"
			}
			b.Run(name, func(b *testing.B) {
				src := &sourceSpec{name: "token", window: rotation.Window{Overlap: time.Hour}}
				m := newTokenSource(src, 16, slog.New(slog.DiscardHandler))
				now := time.Now()
				var s *state[token.Token, token.Set]
				step := func(i int) *state[token.Token, token.Set] {
					next, err := m.step(s, contentOf(i), now)
					if err != nil {
						b.Fatal(err)
					}
					return next
				}
				for i := range n + 1 {
					s = step(i)
				}
				if ended {
					now = now.Add(2 * time.Hour)
				}
				s = step(n + 1)
				b.ReportAllocs()
				i := n + 1
				for b.Loop() {
					i++
					step(i)
				}
			})
		}
	}
}
