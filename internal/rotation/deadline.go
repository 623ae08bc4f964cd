package rotation

import (
	"errors"
	"time"
)

var errDeadline = errors.New("the deadline is not an RFC 3339 time; write it as 2006-01-02T15:04:05Z")

// ParseDeadline parses the deadline of a credential that is declared previous. The error
// does not quote text.
func ParseDeadline(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errDeadline
	}
	return ClampTime(t), nil
}

// ClampTime limits t to the years that RFC 3339 and JSON can represent. It never returns the
// zero Time, which would mean no deadline.
func ClampTime(t time.Time) time.Time {
	first, last := time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	default:
		return t
	}
}
