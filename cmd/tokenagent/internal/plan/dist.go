package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// maxDuration is the longest duration that a flag may give, so that no sum overflows.
const maxDuration = 30 * 24 * time.Hour

// A dist is the distribution of a duration, in seconds.
type dist struct {
	text     string // the DIST that parseDist reads; for samples, how many there are
	shortest float64
	longest  func(q float64) float64 // returns the upper limit; without one, what is exceeded with probability q
	draw     func(r *rand.Rand) float64
}

func (d *dist) bounded() bool { return !math.IsInf(d.longest(0), 1) }

// limited returns a distribution with an upper limit.
func limited(text string, shortest, longest float64, draw func(r *rand.Rand) float64) dist {
	return dist{text, shortest, func(float64) float64 { return longest }, draw}
}

func fixed(d float64) dist {
	return limited("fixed:"+seconds(d).String(), d, d, func(*rand.Rand) float64 { return d })
}

// parseDist reads a DIST as the help of plan describes it. Errors name the flag and
// do not quote text.
func parseDist(flag, text string) (dist, error) {
	kind, rest, _ := strings.Cut(text, ":")
	form := "fixed:D, uniform:D..D, exponential:MEAN, normal:MEAN,SD or samples:FILE"
	switch kind {
	case "fixed":
		form = "fixed:D"
		if d, ok := parseSeconds(rest); ok {
			return fixed(d), nil
		}
	case "uniform":
		form = "uniform:D..D"
		a, b, ok := parseTwo(rest, "..")
		switch {
		case ok && a > b:
			return dist{}, exitcode.Usage("--%s: uniform ends before it begins; put the shorter duration first", flag)
		case ok:
			return limited(fmt.Sprintf("uniform:%s..%s", seconds(a), seconds(b)), a, b,
				func(r *rand.Rand) float64 { return a + (b-a)*r.Float64() }), nil
		}
	case "exponential":
		form = "exponential:MEAN with a mean above 0s"
		if mean, ok := parseSeconds(rest); ok && mean > 0 {
			return dist{
				fmt.Sprintf("exponential:%s", seconds(mean)), 0,
				func(q float64) float64 { return -mean * math.Log(q) },
				func(r *rand.Rand) float64 { return mean * r.ExpFloat64() },
			}, nil
		}
	case "normal":
		form = "normal:MEAN,SD with a deviation above 0s"
		if mean, sd, ok := parseTwo(rest, ","); ok && sd > 0 {
			return dist{ // P(X > mean + sd·z) = erfc(z/√2)/2
				fmt.Sprintf("normal:%s,%s", seconds(mean), seconds(sd)), 0,
				func(q float64) float64 { return max(0, mean+sd*math.Sqrt2*math.Erfcinv(2*q)) },
				func(r *rand.Rand) float64 { return max(0, mean+sd*r.NormFloat64()) },
			}, nil
		}
	case "samples":
		form = "samples:FILE"
		if rest != "" {
			return readSamples(flag, rest)
		}
	}
	return dist{}, exitcode.Usage("--%s has the form %s; durations are written as 90s or 1h30m, from 0s to 720h", flag, form)
}

// readSamples reads a file with one duration a line. A line that begins with # is a
// comment.
func readSamples(flag, name string) (dist, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return dist{}, fmt.Errorf("--%s: %w", flag, err)
	}
	var samples []float64
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		sample, ok := parseSeconds(line)
		if !ok {
			return dist{}, fmt.Errorf("--%s: %s: line %d is no duration from 0s to 720h; write one a line, as 90s or 1h30m", flag, name, n)
		}
		samples = append(samples, sample)
	}
	if len(samples) == 0 {
		return dist{}, fmt.Errorf("--%s: %s: it has no sample; write one duration a line, as 90s or 1h30m", flag, name)
	}
	slices.Sort(samples)
	return limited(fmt.Sprintf("samples (%d)", len(samples)), samples[0], samples[len(samples)-1],
		func(r *rand.Rand) float64 { return samples[r.IntN(len(samples))] }), nil
}

// parseSeconds reads a duration from 0 to maxDuration.
func parseSeconds(text string) (float64, bool) {
	d, err := time.ParseDuration(text)
	return d.Seconds(), err == nil && d >= 0 && d <= maxDuration
}

// parseTwo reads two durations with a separator between them.
func parseTwo(text, separator string) (a, b float64, ok bool) {
	first, second, _ := strings.Cut(text, separator)
	a, okA := parseSeconds(first)
	b, okB := parseSeconds(second)
	return a, b, okA && okB
}

// seconds is a duration in an answer; +Inf means that there is none.
type seconds float64

// String writes 10m, not 10m0s.
func (s seconds) String() string {
	if math.IsInf(float64(s), 1) {
		return "none"
	}
	text := time.Duration(math.Round(float64(s) * 1e9)).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// MarshalJSON rounds to milliseconds, and writes null for +Inf.
func (s seconds) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(s), 1) {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(s)*1000) / 1000)
}

// coarse rounds s to a tenth below 10 seconds, and to seconds above.
func (s seconds) coarse() seconds {
	if s < 10 {
		return seconds(math.Round(float64(s)*10) / 10)
	}
	return seconds(math.Round(float64(s)))
}
