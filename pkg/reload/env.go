package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Env returns an environment variable of this process as a source. Other processes
// cannot change it, so it is neither watched nor polled: a [Value] reads it in Open
// and Reload. An unset variable, and one with only white space, is an error.
func Env(name string) Source { return env(name) }

type env string

func (e env) String() string { return shownName(string(e)) }

func (e env) Read(_ context.Context, maxBytes int64) (Content, error) {
	value, ok := os.LookupEnv(string(e))
	var err error
	switch {
	case !ok:
		err = errors.New("not set; set it before the start")
	case isBlank([]byte(value)):
		err = fmt.Errorf("%w; set it before the start", ErrEmpty)
	case int64(len(value)) > maxBytes:
		err = tooLargeError(maxBytes)
	default:
		return Content{Data: []byte(value), Path: e.String()}, nil
	}
	return Content{}, fmt.Errorf("environment variable %s: %w", e, err)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// shownName returns name as it may be shown. A shell can put the value of a variable
// in place of its name, and then name is a secret. So it is shown only if it is a valid
// name, no part of it is as long as a token, and a long name is not in mixed case.
func shownName(name string) string {
	const shortestToken = 16
	show := envName.MatchString(name)
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
