// Package work sets up what is measured of tokenagent: the same agents, requests
// and tokens for the benchmarks and for the guard that counts instructions. It
// links no peer.
package work

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// Token returns the i-th opaque token, of 200 bytes. All but the last 8 bytes
// are those of every other one.
func Token(i int) string { return fmt.Sprintf("%s%08d", strings.Repeat("x", 192), i) }

// Tokens returns the first n of them.
func Tokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = Token(i)
	}
	return tokens
}

// A Cycle goes through things in an order that no cache foresees.
type Cycle[T any] struct {
	All []T
	at  int
}

// Next returns the next one. The stride is a prime, so all have their turn.
func (c *Cycle[T]) Next() T {
	v := c.All[c.at]
	if len(c.All) > 1 {
		c.at = (c.at + 7919) % len(c.All)
	}
	return v
}

// WriteTokens writes n tokens to a new file in dir, one a line.
func WriteTokens(dir string, n int) (path string, err error) {
	path = filepath.Join(dir, fmt.Sprintf("tokens-%d", n))
	return path, os.WriteFile(path, []byte(strings.Join(Tokens(n), "\n")+"\n"), 0o600)
}

// Agent starts an agent that accepts n tokens, from a file in dir. It hardly looks
// whether that changes, since what watching costs is measured by itself.
func Agent(ctx context.Context, dir string, n int) (*agent.Agent, error) {
	path, err := WriteTokens(dir, n)
	if err != nil {
		return nil, err
	}
	return agent.Start(ctx, agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour, Logger: slog.New(slog.DiscardHandler)})
}
