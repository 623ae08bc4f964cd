// Package watch watches files with tokenagent and with its peers. It compares how soon
// they serve new content, and what they cost while nothing changes.
package watch

import (
	"context"
	"fmt"
)

// A Kind is one way to watch.
type Kind struct {
	Name string
	// Polls says that it uses no events, and reads from time to time.
	Polls bool
	// Files returns version i of the watched files. Only the first file changes.
	Files func(i int) ([]File, error)
	// Start starts to watch those files in dir, which holds version 0.
	Start func(ctx context.Context, dir string) (Watch, error)
}

// A File is a watched file.
type File struct {
	Name string
	Data []byte
}

// A Watch serves the content of the watched files.
type Watch interface {
	// Serves returns a function that reports whether version i is served now.
	Serves(i int) func() bool
	Close() error
}

// Kinds returns all Kinds, tokenagent first.
func Kinds() []Kind {
	return []Kind{tokenagent(), controllerRuntime(), otel(), viperKind(), authz(), clientGo()}
}

// Named returns the Kind of that name.
func Named(name string) (Kind, error) {
	if name == Nothing {
		return nothing(), nil
	}
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("there is no peer %q to watch with", name)
}

// Nothing is the name of the Kind that watches nothing. It shows the cost of a process
// that only runs.
const Nothing = "nothing"

type watch struct {
	serves func(i int) func() bool
	close  func() error
}

func (w watch) Serves(i int) func() bool { return w.serves(i) }
func (w watch) Close() error             { return w.close() }
