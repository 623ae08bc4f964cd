package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Number is the cost of one operation.
type Number struct {
	What         string  `json:"what"`
	Allocations  float64 `json:"allocations"`
	Instructions int     `json:"instructions,omitempty"`
}

// Numbers are the costs of all operations, with one version of Go.
type Numbers struct {
	Go         string   `json:"go"`
	Operations []Number `json:"operations"`
}

// The tolerance is the share by which the instructions may exceed the expected number.
// Hashes have a random seed, so lookups differ from run to run. Another version of Go
// has another compiler and another library.
const (
	tolerance        = 0.03
	toleranceOtherGo = 0.30
)

var errMore = errors.New("an operation differs from the expected numbers; fix it, or run make guard-write and give the reason in the commit")

// compare prints now beside was. It returns errMore if an operation costs more than
// was allows, is missing, or is new.
func compare(out io.Writer, was, now Numbers) error {
	allowed := tolerance
	if was.Go != now.Go {
		allowed = toleranceOtherGo
		fmt.Fprintf(out, "the expected numbers are from %s and this is %s, so %.0f%% more instructions are allowed\n", was.Go, now.Go, 100*allowed)
	}
	before := make(map[string]Number, len(was.Operations))
	for _, n := range was.Operations {
		before[n.What] = n
	}
	bad := false
	for _, n := range now.Operations {
		b, ok := before[n.What]
		delete(before, n.What)
		verdict := "ok"
		more := float64(n.Instructions)/float64(max(b.Instructions, 1)) - 1
		switch {
		case !ok:
			verdict, bad = "NOT IN THE FILE", true
		case n.Allocations > b.Allocations:
			verdict, bad = "MORE ALLOCATIONS", true
		case float64(n.Instructions) > float64(b.Instructions)*(1+allowed):
			verdict, bad = fmt.Sprintf("%.0f%% MORE INSTRUCTIONS", 100*more), true
		case n.Allocations < b.Allocations || n.Instructions > 0 && more < -allowed:
			verdict = "less than expected: run make guard-write"
		}
		fmt.Fprintf(out, "%-28s %4.0f allocations (%.0f)  %8d instructions (%d)  %s\n",
			n.What, n.Allocations, b.Allocations, n.Instructions, b.Instructions, verdict)
	}
	for what := range before {
		fmt.Fprintf(out, "%-28s is in the file, but was not measured\n", what)
		bad = true
	}
	if bad {
		return errMore
	}
	return nil
}

func load(path string) (Numbers, error) {
	var n Numbers
	text, err := os.ReadFile(path)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// save writes one operation a line, so that a diff shows each changed operation.
func (n Numbers) save(path string) error {
	lines := make([]string, len(n.Operations))
	for i, op := range n.Operations {
		line, err := json.Marshal(op)
		if err != nil {
			return err
		}
		lines[i] = "    " + string(line)
	}
	text := fmt.Sprintf("{\n  \"go\": %q,\n  \"operations\": [\n%s\n  ]\n}\n", n.Go, strings.Join(lines, ",\n"))
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a file of the repository
}
