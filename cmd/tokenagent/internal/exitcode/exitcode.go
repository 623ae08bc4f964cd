// Package exitcode turns the error of a command into its exit code: 0 good, 1 refused or
// failed, 2 usage, 130 interrupted. The command exec ends with the code of the program
// that it ran.
package exitcode

import (
	"errors"

	"github.com/tokenagent/tokenagent/internal/option"
)

// Refused ends a command with exit code 1 and no error message, because the command has
// printed its answer.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Refused = errors.New("refused")

// Interrupted ends a command with exit code 130, which shells report for a program that
// SIGINT ended (POSIX XCU 2.8.2). SIGTERM ends a command with the same code.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Interrupted = errors.New("interrupted")

type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// Usage returns an error that ends the command with exit code 2. The text names the flag
// and says how to fix the error. In format, {token-file} stands for the setting of that
// name; see package option.
func Usage(format string, args ...any) error {
	return coded{option.Errorf(option.Flag, format, args...), 2}
}

// With returns an error that ends the command with the exit code and prints err. If err
// is nil, nothing is printed, as for [Refused]. With(0, nil) returns nil.
func With(code int, err error) error {
	if err == nil {
		if code == 0 {
			return nil
		}
		err = Refused
	}
	return coded{err, code}
}

// Of returns the exit code for the error of a command.
func Of(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, Interrupted) {
		return 130
	}
	if c, ok := errors.AsType[coded](err); ok {
		return c.code
	}
	return 1
}
