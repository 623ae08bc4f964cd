// Package work sets up the agents, requests and tokens of the benchmarks and of the
// guard. It links no peer.
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

// Token returns the i-th opaque token, of 200 bytes. Tokens differ only in the last 8
// bytes.
func Token(i int) string { return fmt.Sprintf("%s%08d", strings.Repeat("x", 192), i) }

// Tokens returns the first n opaque tokens.
func Tokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = Token(i)
	}
	return tokens
}

// A Cycle returns the elements of All again and again, in an order that no cache can
// predict.
type Cycle[T any] struct {
	All []T
	at  int
}

// Next returns the next element. The stride is a prime, so that every element has its
// turn.
func (c *Cycle[T]) Next() T {
	v := c.All[c.at]
	if len(c.All) > 1 {
		c.at = (c.at + 7919) % len(c.All)
	}
	return v
}

// WriteTokens writes the first n tokens to a file in dir, one a line.
func WriteTokens(dir string, n int) (path string, err error) {
	path = filepath.Join(dir, fmt.Sprintf("tokens-%d", n))
	return path, os.WriteFile(path, []byte(strings.Join(Tokens(n), "\n")+"\n"), 0o600)
}

// Agent starts an agent that accepts n tokens, from a file in dir. The agent polls the
// file once an hour, because a separate section measures the watch.
func Agent(ctx context.Context, dir string, n int) (*agent.Agent, error) {
	path, err := WriteTokens(dir, n)
	if err != nil {
		return nil, err
	}
	return start(ctx, path)
}

// ClientAgent starts an agent that accepts the tokens of n named clients, one each.
func ClientAgent(ctx context.Context, dir string, n int) (*agent.Agent, error) {
	var text strings.Builder
	for i, token := range Tokens(n) {
		fmt.Fprintf(&text, "%s name=client-%d\n", token, i)
	}
	path := filepath.Join(dir, fmt.Sprintf("clients-%d", n))
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, path)
}

func start(ctx context.Context, path string) (*agent.Agent, error) {
	return agent.Start(ctx, agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour, Logger: slog.New(slog.DiscardHandler)})
}
