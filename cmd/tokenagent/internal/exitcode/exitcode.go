// Package exitcode says how a command of tokenagent ends: 0 good, 1 refused or
// failed, 2 usage, 130 interrupted; exec alone ends with the code of the program
// it ran.
package exitcode

import (
	"errors"

	"github.com/tokenagent/tokenagent/internal/option"
)

// Refused ends a command with exit code 1 and no error message: the command has
// printed what it found.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Refused = errors.New("refused")

// Interrupted ends a command with exit code 130, as shells report a program that
// SIGINT ended (POSIX XCU 2.8.2). SIGTERM ends a command in the same way.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Interrupted = errors.New("interrupted")

type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// Usage returns an error that ends the command with exit code 2. Its text names the
// flag and says how to fix it. In format {token-file} stands for a setting that a
// file of realms has as well; see package option.
func Usage(format string, args ...any) error {
	return coded{option.Errorf(option.Flag, format, args...), 2}
}

// With returns an error that ends the command with the given exit code and the text of
// err. If err is nil, nothing is printed, as for [Refused]. Code 0 without err is nil.
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
