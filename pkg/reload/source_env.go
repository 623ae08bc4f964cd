package reload

import (
	"context"
	"errors"
	"os"
)

// Env is the value of an environment variable of this process. Nobody can
// change that from outside, so it is not watched: a [Value] of it has the mode "static"
// and reads it at Open and at Reload. Unset and blank are errors.
func Env(name string) Source { return env(name) }

type env string

func (e env) static() {}

func (e env) String() string { return string(e) }

var errNotSet = errors.New("not set")

func (e env) Read(_ context.Context, maxBytes int64) (Content, error) {
	value, ok := os.LookupEnv(string(e))
	fault := &fault{path: "environment variable " + string(e), mend: "set it before the start"}
	switch {
	case !ok:
		fault.cause = errNotSet
	case blank([]byte(value)):
		fault.cause = ErrEmpty
	case int64(len(value)) > maxBytes:
		fault.cause, fault.mend = tooLarge(maxBytes), ""
	default:
		return Content{Data: []byte(value), Path: string(e)}, nil
	}
	return Content{}, fault
}

// EnvFile is the value of one key of an env file: lines of KEY=value, each
// optionally after `export `, the value optionally in matching single or double
// quotes. Nothing is expanded and nothing escaped; of several lines for one key
// the last counts; blank lines and lines that begin with # are skipped. Any
// other line is an error that gives its number and not its text. So is a file
// without the key, and a blank value.
func EnvFile(path, name string) Source {
	return &envFile{file: file{given: path, path: absolute(path)}, name: name}
}

type envFile struct {
	file file
	name string
}

func (e *envFile) String() string { return e.file.given }

func (e *envFile) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := e.track(maxBytes)
	return c, err
}

func (e *envFile) track(maxBytes int64) (Content, evidence, error) {
	c, ev, err := e.file.track(maxBytes)
	if err != nil {
		return Content{}, ev, err
	}
	c.Data, err = lookupEnv(e.file.given, c.Data, e.name)
	if err != nil {
		return Content{}, ev, err
	}
	return c, ev, nil
}
