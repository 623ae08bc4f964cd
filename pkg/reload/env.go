package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Env returns an environment variable of this process as a source. Other processes
// cannot change it, so it is neither watched nor polled: a [Value] reads it in Open
// and Reload. An unset variable, and one with only white space, is an error.
func Env(name string) Source { return env(name) }

type env string

func (e env) static() {}

func (e env) String() string { return shownName(string(e)) }

// shownName returns name as it may be shown. Where a shell puts the value of a
// variable in place of its name, name is a secret: so it is shown if it has the form
// of a name and no part of it is as long as a token is.
func shownName(name string) string {
	show := isEnvKey([]byte(name))
	for part := range strings.SplitSeq(name, "_") {
		mixed := strings.ToUpper(part) != part && strings.ToLower(part) != part
		show = show && len(part) < shortestToken && (!mixed || len(name) < shortestToken)
	}
	if show {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("(not shown, since it may be a token: SHA-256 %x)", sum[:4])
}

// shortestToken is how many bytes a token has at the least.
const shortestToken = 16

var errNotSet = errors.New("not set")

func (e env) Read(_ context.Context, maxBytes int64) (Content, error) {
	value, ok := os.LookupEnv(string(e))
	err := &sourceError{path: "environment variable " + e.String(), fix: "set it before the start"}
	switch {
	case !ok:
		err.cause = errNotSet
	case isBlank([]byte(value)):
		err.cause = ErrEmpty
	case int64(len(value)) > maxBytes:
		err.cause, err.fix = tooLargeError(maxBytes), ""
	default:
		return Content{Data: []byte(value), Path: e.String()}, nil
	}
	return Content{}, err
}
