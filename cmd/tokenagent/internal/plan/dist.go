package plan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// distForms is the grammar of a distribution, as help and errors show it.
const distForms = "fixed:D, uniform:D..D, exponential:MEAN, normal:MEAN,SD or samples:FILE"

// maxDuration bounds what may be planned for. A rotation that takes longer is a
// project, and a sum of such durations stays far from an overflow.
const maxDuration = 30 * 24 * time.Hour

// maxSamples bounds a file of samples.
const maxSamples = 1 << 20

// A dist is the distribution of a duration. The zero value is always zero. It is
// immutable and safe for concurrent use; times are in seconds.
type dist struct {
	kind    distKind
	a, b    float64   // fixed: a. uniform: from a to b. exponential: mean a. normal: mean a, deviation b
	samples []float64 // ascending, at least one
}

type distKind int

const (
	fixed distKind = iota
	uniform
	exponential
	normal
	sampled
)

// parseDist reads a distribution of the grammar
//
//	fixed:D             always D
//	uniform:D..D        evenly between the two
//	exponential:MEAN    without memory; no upper limit
//	normal:MEAN,SD      cut off at zero; no upper limit
//	samples:FILE        as often as in FILE: a duration a line, # begins a comment line
//
// where D, MEAN and SD are durations as Go writes them, 90s or 1h30m. flag is
// named in errors, which quote nothing of text; one about the content of FILE
// names its line.
func parseDist(flag, text string, read func(name string) ([]byte, error)) (dist, error) {
	form := func(s string) (dist, error) {
		return dist{}, fail.Usage("--%s has the form %s; durations are written as 90s or 1h30m, from 0s to 720h", flag, s)
	}
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		return form(distForms)
	}
	switch kind {
	case "fixed":
		if d, ok := parseSeconds(rest); ok {
			return dist{kind: fixed, a: d}, nil
		}
		return form("fixed:D")
	case "uniform":
		from, to, cut := strings.Cut(rest, "..")
		a, okA := parseSeconds(from)
		b, okB := parseSeconds(to)
		if !cut || !okA || !okB {
			return form("uniform:D..D")
		}
		if b < a {
			return dist{}, fail.Usage("--%s: uniform ends before it begins; put the shorter duration first", flag)
		}
		return dist{kind: uniform, a: a, b: b}, nil
	case "exponential":
		if d, ok := parseSeconds(rest); ok && d > 0 {
			return dist{kind: exponential, a: d}, nil
		}
		return form("exponential:MEAN with a mean above 0s")
	case "normal":
		mean, deviation, cut := strings.Cut(rest, ",")
		a, okA := parseSeconds(mean)
		b, okB := parseSeconds(deviation)
		if !cut || !okA || !okB || b == 0 {
			return form("normal:MEAN,SD with a deviation above 0s")
		}
		return dist{kind: normal, a: a, b: b}, nil
	case "samples":
		if rest == "" {
			return form("samples:FILE")
		}
		return readSamples(flag, rest, read)
	default:
		return form(distForms)
	}
}

func readSamples(flag, name string, read func(string) ([]byte, error)) (dist, error) {
	data, err := read(name)
	if err != nil {
		return dist{}, fmt.Errorf("--%s: %w", flag, err)
	}
	d := dist{kind: sampled}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, ok := parseSeconds(line)
		if !ok {
			return dist{}, fmt.Errorf("--%s: %s: line %d is no duration from 0s to 720h; write one a line, as 90s or 1h30m", flag, name, n)
		}
		if len(d.samples) == maxSamples {
			return dist{}, fmt.Errorf("--%s: %s: there are more than %d samples; give fewer", flag, name, maxSamples)
		}
		d.samples = append(d.samples, s)
	}
	switch {
	case errors.Is(lines.Err(), bufio.ErrTooLong):
		return dist{}, fmt.Errorf("--%s: %s: a line is too long for a duration; write one a line, as 90s or 1h30m", flag, name)
	case lines.Err() != nil:
		return dist{}, fmt.Errorf("--%s: %s: %w", flag, name, lines.Err())
	case len(d.samples) == 0:
		return dist{}, fmt.Errorf("--%s: %s: there is no sample in it; write a duration a line, as 90s or 1h30m", flag, name)
	}
	slices.Sort(d.samples)
	return d, nil
}

// parseSeconds reads a duration from 0 to maxDuration.
func parseSeconds(text string) (float64, bool) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDuration {
		return 0, false
	}
	return d.Seconds(), true
}

// draw returns one duration.
func (d *dist) draw(r *rand.Rand) float64 {
	switch d.kind {
	case uniform:
		return d.a + (d.b-d.a)*r.Float64()
	case exponential:
		return d.a * r.ExpFloat64()
	case normal:
		return max(0, d.a+d.b*r.NormFloat64())
	case sampled:
		return d.samples[r.IntN(len(d.samples))]
	default:
		return d.a
	}
}

// least returns the shortest duration that there can be.
func (d *dist) least() float64 {
	switch d.kind {
	case fixed, uniform:
		return d.a
	case sampled:
		return d.samples[0]
	default:
		return 0
	}
}

// above returns a duration that is exceeded with a chance of at most q, from 0
// to 1. With q = 0 it is the longest that there can be: +Inf for exponential and
// normal. A file of samples is believed: nothing lasts longer than its longest.
func (d *dist) above(q float64) float64 {
	switch d.kind {
	case uniform:
		return d.b - q*(d.b-d.a)
	case exponential:
		return -d.a * math.Log(q)
	case normal:
		// P(X > m + s·z) = erfc(z/√2)/2. Cutting off at zero moves mass up to
		// zero alone.
		return max(0, d.a+d.b*math.Sqrt2*math.Erfcinv(2*q))
	case sampled:
		n := len(d.samples)
		return d.samples[n-1-min(int(q*float64(n)), n-1)]
	default:
		return d.a
	}
}

// bounded reports whether there is a longest duration.
func (d *dist) bounded() bool { return d.kind != exponential && d.kind != normal }

// limit returns the longest duration, or without one that which is exceeded
// with a chance of q at most.
func (d *dist) limit(q float64) float64 {
	if d.bounded() {
		return d.above(0)
	}
	return d.above(q)
}

// String returns the distribution in the grammar of parseDist. Of samples it
// gives the number, not the file.
func (d *dist) String() string {
	a, b := short(d.a), short(d.b)
	switch d.kind {
	case uniform:
		return "uniform:" + a + ".." + b
	case exponential:
		return "exponential:" + a
	case normal:
		return "normal:" + a + "," + b
	case sampled:
		return fmt.Sprintf("samples (%d)", len(d.samples))
	default:
		return "fixed:" + a
	}
}

// short writes seconds as a duration without needless zeroes: 10m, not 10m0s.
func short(seconds float64) string {
	s := time.Duration(math.Round(seconds * 1e9)).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
