// Package watch keeps things in step with files, in the ways of tokenagent and of
// others, to compare how soon they serve what is new and what they cost while
// nothing is.
package watch

import (
	"context"
	"fmt"
)

// A Kind is one way to watch.
type Kind struct {
	Name string
	// Polls says that it has no events and looks from time to time.
	Polls bool
	// Files returns what is watched, in version i: file names and content. The
	// first file is the one that changes.
	Files func(i int) ([]File, error)
	// Start watches those files in dir, which hold version 0.
	Start func(ctx context.Context, dir string) (Watch, error)
}

// A File is one of those that are watched.
type File struct {
	Name string
	Data []byte
}

// A Watch serves some version.
type Watch interface {
	// Serves returns what reports whether version i is what is served now.
	Serves(i int) func() bool
	Close() error
}

// Kinds returns all of them, tokenagent first.
func Kinds() []Kind {
	return []Kind{tokenagent(), controllerRuntime(), otel(), viperKind(), authz(), clientGo()}
}

// Named returns the one of that name, or nothing at all for "nothing".
func Named(name string) (Kind, error) {
	if name == Nothing {
		return nothing(), nil
	}
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("there is no way to watch called %q", name)
}

// Nothing is the name of the Kind that watches nothing, to tell what a process
// costs that is just there.
const Nothing = "nothing"

type watch struct {
	serves func(i int) func() bool
	close  func() error
}

func (w watch) Serves(i int) func() bool { return w.serves(i) }
func (w watch) Close() error             { return w.close() }
