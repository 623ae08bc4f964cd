package plan

import (
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "CANARY-51f0c2-token"

func dists(t *testing.T, text string) dist {
	t.Helper()
	d, err := parseDist("x", inFile(t, text, "# seconds\n\n 3s\n1s\n2s\n2s\n"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// inFile returns text, in samples:f with the path of a file with content in place of f.
func inFile(t *testing.T, text, content string) string {
	t.Helper()
	if text != "samples:f" {
		return text
	}
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "samples:" + name
}

func TestDistGrammar(t *testing.T) {
	for text, want := range map[string]string{
		"fixed:0s":                "fixed:0s",
		"fixed:90s":               "fixed:1m30s",
		"fixed:720h":              "fixed:720h",
		"uniform:5m..30m":         "uniform:5m..30m",
		"uniform:1h0m0s..3600s":   "uniform:1h..1h",
		"exponential:10m":         "exponential:10m",
		"normal:10m,2m30s":        "normal:10m,2m30s",
		"samples:f":               "samples (4)",
		"uniform:0s..1h10m0.250s": "uniform:0s..1h10m0.25s",
	} {
		d := dists(t, text)
		if got := d.text; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestDistErrors(t *testing.T) {
	for text, want := range map[string]struct {
		code int
		says string
	}{
		"":                      {2, "--x has the form fixed:D, uniform"},
		canary:                  {2, "--x has the form fixed:D, uniform"},
		canary + ":1s":          {2, "--x has the form fixed:D, uniform"},
		"10m":                   {2, "--x has the form fixed:D, uniform"},
		"Fixed:10m":             {2, "--x has the form fixed:D, uniform"},
		"fixed:" + canary:       {2, "--x has the form fixed:D; durations"},
		"fixed:":                {2, "from 0s to 720h"},
		"fixed:10":              {2, "from 0s to 720h"},
		"fixed:-1s":             {2, "from 0s to 720h"},
		"fixed:721h":            {2, "from 0s to 720h"},
		"uniform:10m":           {2, "--x has the form uniform:D..D"},
		"uniform:1m.." + canary: {2, "--x has the form uniform:D..D"},
		"uniform:2m..1m":        {2, "ends before it begins; put the shorter duration first"},
		"exponential:0s":        {2, "a mean above 0s"},
		"normal:1m":             {2, "normal:MEAN,SD"},
		"normal:1m,0s":          {2, "a deviation above 0s"},
		"exponential:1s,2s":     {2, "a mean above 0s"},
		"samples:":              {2, "--x has the form samples:FILE"},
		"uniform:1m..2m..3m":    {2, "--x has the form uniform:D..D"},
	} {
		_, err := parseDist("x", text)
		if exitcode.Of(err) != want.code || err == nil || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%q: %v, code %d; want %q, %d", text, err, exitcode.Of(err), want.says, want.code)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error quotes the value: %v", err)
		}
	}
	for content, says := range map[string]string{
		"1s\n#\n" + canary + "\n":               "line 3 is no duration from 0s to 720h; write one a line",
		"1s\n" + strings.Repeat(canary, 10_000): "line 2 is no duration",
		"# nothing\n":                           "it has no sample; write one duration a line",
	} {
		_, err := parseDist("x", inFile(t, "samples:f", content))
		if exitcode.Of(err) != 1 {
			t.Fatalf("%.20q: exit code %d, want 1 (%v)", content, exitcode.Of(err), err)
		}
		if text := err.Error(); !strings.HasPrefix(text, "--x: ") || !strings.Contains(text, says) {
			t.Errorf("%.20q: %v; want --x: and %q", content, err, says)
		}
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error quotes the content: %v", err)
		}
	}
	_, err := parseDist("x", "samples:"+t.TempDir()+"/none")
	if exitcode.Of(err) != 1 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want an error that wraps fs.ErrNotExist", err)
	}
}

// Draws lie within the limits, and exceed longest(q) with probability q.
func TestDistLimits(t *testing.T) {
	for _, text := range []string{"fixed:3s", "uniform:5s..30s", "exponential:10s", "normal:10s,2s", "normal:1s,5s", "samples:f"} {
		d := dists(t, text)
		r := rand.New(rand.NewPCG(1, 2))
		const n = 100_000
		over := map[float64]int{0: 0, 1e-3: 0, 1e-2: 0, 0.1: 0, 0.5: 0}
		if d.bounded() {
			over = map[float64]int{0: 0}
		}
		exact := map[float64]int{}
		for range n {
			x := d.draw(r)
			if x < d.shortest || math.IsNaN(x) {
				t.Fatalf("%s: drew %g, less than %g", text, x, d.shortest)
			}
			for q := range over {
				switch a := d.longest(q); {
				case x > a:
					over[q]++
				case x == a:
					exact[q]++
				}
			}
		}
		for q, c := range over {
			slack := 4 * math.Sqrt(q*n)
			if float64(c) > q*n+slack {
				t.Errorf("%s: %d of %d exceed longest(%g)", text, c, n, q)
			}
			if float64(c+exact[q]) < q*n-slack {
				t.Errorf("%s: %d of %d reach longest(%g), it is not tight", text, c, n, q)
			}
		}
		if d.bounded() == math.IsInf(d.longest(0), 1) {
			t.Errorf("%s: bounded is %t, the longest %g", text, d.bounded(), d.longest(0))
		}
	}
}

func FuzzDist(f *testing.F) {
	for _, seed := range []string{"fixed:1s", "uniform:1s..2h", "exponential:1ns", "normal:1m,1s", "samples:f", "uniform:..", ":", "normal:1s,"} {
		f.Add(seed, "1s\n2m\n# x\n")
	}
	f.Fuzz(func(t *testing.T, text, content string) {
		if strings.HasPrefix(text, "samples:") {
			text = inFile(t, "samples:f", content)
		}
		d, err := parseDist("x", text)
		if err != nil {
			if exitcode.Of(err) != 2 && !strings.HasPrefix(text, "samples:") {
				t.Fatalf("%q: %v is no usage error", text, err)
			}
			return
		}
		r := rand.New(rand.NewPCG(1, 2))
		x := d.draw(r)
		longest := min(d.longest(0), maxDuration.Seconds()*100) // exponential has no upper limit
		if !(x >= d.shortest && x <= longest) || d.shortest < 0 {
			t.Fatalf("%q: drew %g, limits %g to %g", text, x, d.shortest, d.longest(0))
		}
		if d.longest(0.5) < d.shortest || d.longest(1e-12) < d.longest(1e-2) {
			t.Fatalf("%q: longest is %g, %g, %g for falling probabilities, shortest %g", text, d.longest(0.5), d.longest(1e-2), d.longest(1e-12), d.shortest)
		}
		if strings.HasPrefix(text, "samples:") {
			return
		}
		again, err := parseDist("x", d.text)
		if err != nil || again.text != d.text {
			t.Fatalf("%q is written as %q, which reads as %q, %v", text, d.text, again.text, err)
		}
		if again.shortest != d.shortest || again.longest(0.5) != d.longest(0.5) {
			t.Fatalf("%q has the limits %g and %g, read again %g and %g", text, d.shortest, d.longest(0.5), again.shortest, again.longest(0.5))
		}
	})
}
