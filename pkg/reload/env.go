package reload

import (
	"context"
	"errors"
	"os"
)

// Env returns an environment variable of this process as a source. Other processes
// cannot change it, so it is neither watched nor polled: a [Value] reads it in Open
// and Reload. An unset variable, and one with only white space, is an error.
func Env(name string) Source { return env(name) }

type env string

func (e env) static() {}

func (e env) String() string { return string(e) }

var errNotSet = errors.New("not set")

func (e env) Read(_ context.Context, maxBytes int64) (Content, error) {
	value, ok := os.LookupEnv(string(e))
	err := &sourceError{path: "environment variable " + string(e), fix: "set it before the start"}
	switch {
	case !ok:
		err.cause = errNotSet
	case isBlank([]byte(value)):
		err.cause = ErrEmpty
	case int64(len(value)) > maxBytes:
		err.cause, err.fix = tooLargeError(maxBytes), ""
	default:
		return Content{Data: []byte(value), Path: string(e)}, nil
	}
	return Content{}, err
}
