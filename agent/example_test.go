package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// write replaces the file at path by renaming a new file over it.
func write(path, text string) {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		log.Fatal(err)
	}
}

// tempToken writes a token file in a new directory. The caller calls remove.
func tempToken(text string) (path string, remove func()) {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "token")
	write(path, text)
	return path, func() { _ = os.RemoveAll(dir) }
}

// startAgent starts an Agent for the token file at path, without a log.
func startAgent(path string) *agent.Agent {
	a, err := agent.Start(context.Background(), agent.Config{TokenFile: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	return a
}

func ExampleStart() {
	path, remove := tempToken("the-token-of-this-example\n")
	defer remove()

	a, err := agent.Start(context.Background(), agent.Config{TokenFile: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()

	p, err := a.Verify(context.Background(), "the-token-of-this-example")
	fmt.Println(p.Source(), p.Slot(), err)
	_, err = a.Verify(context.Background(), "another-token-of-this-example")
	fmt.Println(errors.Is(err, verify.ErrInvalidToken))
	// Output:
	// token current <nil>
	// true
}

// A sender waits for a rotation with Updated and reads the new token with Token.
// A receiver accepts the new token and, during the overlap, the old one.
func ExampleAgent_Updated() {
	path, remove := tempToken("the-first-token-of-this-example\n")
	defer remove()
	a := startAgent(path)
	defer a.Close()

	updated := a.Updated() // before Token, so that no change is missed
	fmt.Println(a.Token())

	write(path, "the-second-token-of-this-example\n")
	<-updated
	fmt.Println(a.Token())

	p, err := a.Verify(context.Background(), "the-first-token-of-this-example")
	fmt.Println(p.Slot(), err)
	// Output:
	// the-first-token-of-this-example <nil>
	// the-second-token-of-this-example <nil>
	// previous <nil>
}

func ExampleAgent_Revoke() {
	path, remove := tempToken("the-leaked-token-of-this-example\n")
	defer remove()
	a := startAgent(path)
	defer a.Close()

	id := verify.Digest("the-leaked-token-of-this-example")
	if err := a.Revoke(id); err != nil {
		fmt.Println(err)
		return
	}
	_, err := a.Verify(context.Background(), "the-leaked-token-of-this-example")
	fmt.Println(errors.Is(err, verify.ErrRevokedToken))

	err = a.Unrevoke(id)
	fmt.Println(err)
	_, err = a.Verify(context.Background(), "the-leaked-token-of-this-example")
	fmt.Println(err)
	// Output:
	// true
	// <nil>
	// <nil>
}

// An Agent is a prometheus.Collector. A label distinguishes several Agents in one
// registry.
func ExampleAgent_Collect() {
	path, remove := tempToken("the-token-of-this-example\n")
	defer remove()
	a := startAgent(path)
	defer a.Close()

	registry := prometheus.NewRegistry()
	prometheus.WrapRegistererWith(prometheus.Labels{"realm": "orders"}, registry).MustRegister(a)

	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tokenagent_generation Changes of the accepted tokens since the start.
# TYPE tokenagent_generation gauge
tokenagent_generation{realm="orders",source="token"} 1
`), "tokenagent_generation")
	fmt.Println(err)
	// Output: <nil>
}
