// Package exitcode says how a command of tokenagent ends: 0 good, 1 refused or
// failed, 2 usage, 130 interrupted; exec alone ends with the code of the program
// it ran.
package exitcode

import (
	"errors"

	"github.com/tokenagent/tokenagent/internal/option"
)

// Refused ends a command with exit code 1 and no further word: the command has
// said what it found.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Refused = errors.New("refused")

// Interrupted ends a command with exit code 130, as shells report a program that
// SIGINT ended (POSIX XCU 2.8.2). SIGTERM ends a command in the same way.
//
//nolint:gochecknoglobals,revive,staticcheck // an outcome, not an error
var Interrupted = errors.New("interrupted")

type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// Usage returns an error that ends the command with exit code 2. Its text
// names the flag and says how to fix it. In format {token-file} stands for a setting that
// a file of realms has as well; see package option.
func Usage(format string, args ...any) error {
	return usage{option.Errorf(option.Flag, format, args...)}
}

type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

// With returns what ends the command with the exit code of another program, and
// with the text of err; nil says nothing, as [Refused] does. Code 0 without err
// is nil.
func With(code int, err error) error {
	if err == nil {
		if code == 0 {
			return nil
		}
		err = Refused
	}
	return exit{err, code}
}

// Of returns the exit code for what a command returned.
func Of(err error) int {
	var u usage
	var e exit
	switch {
	case err == nil:
		return 0
	case errors.Is(err, Interrupted):
		return 130
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &u):
		return 2
	default:
		return 1
	}
}
