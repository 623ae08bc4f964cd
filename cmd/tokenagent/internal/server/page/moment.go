package page

import (
	"fmt"
	"time"
)

// A moment is a time, relative to the time of the page. The script updates the texts of
// Ago, Age and Left in the same words (span.js).
type moment struct{ at, now time.Time }

// Known reports whether the time is set.
func (m moment) Known() bool { return !m.at.IsZero() }

// ISO returns the time in milliseconds, in the form that the script parses.
func (m moment) ISO() string { return m.at.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// Clock returns the time of day, with the date if that is not today.
func (m moment) Clock() string {
	at, now := m.at.UTC(), m.now.UTC()
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format("15:04:05 UTC")
	}
	return at.Format("2006-01-02 15:04 UTC")
}

// Ago returns how long ago the time was. A time less than a second ago is now, and so is
// a time in the future, which comes from another clock.
func (m moment) Ago() string {
	d := m.now.Sub(m.at)
	if d < time.Second {
		return "now"
	}
	return span(d) + " ago"
}

// Age returns the duration since the time.
func (m moment) Age() string { return span(max(m.now.Sub(m.at), 0)) }

// Left returns the duration until the time. It rounds up to whole seconds, so that the page
// shows nothing as over too early.
func (m moment) Left() string {
	d := m.at.Sub(m.now)
	if d <= 0 {
		return "over"
	}
	return span(d + time.Second - time.Nanosecond)
}

// Over reports whether the time has passed.
func (m moment) Over() bool { return !m.at.After(m.now) }

func span(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 60*60:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 24*60*60:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
	}
}
