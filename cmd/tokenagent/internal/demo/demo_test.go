package demo

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quick = options{step: 250 * time.Millisecond, overlap: 200 * time.Millisecond, changes: allChanges()}

// row returns the counts of one outcome in the table.
func row(t *testing.T, out, name string) (once, http, grpc int) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` +(\d+) +(\d+) +(\d+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no row %q in:\n%s", name, out)
	}
	once, _ = strconv.Atoi(m[1])
	http, _ = strconv.Atoi(m[2])
	grpc, _ = strconv.Atoi(m[3])
	return once, http, grpc
}

func TestDemoFindsNoErrors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out, quick); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, name := range []string{"sent", "accepted as current", "accepted as next", "accepted as previous", "rightly refused"} {
		if _, h, g := row(t, out.String(), name); h == 0 || g == 0 {
			t.Errorf("%s: %d over HTTP and %d over gRPC, want some of each", name, h, g)
		}
	}
	for _, name := range []string{"no answer", "wrongly refused", "wrongly accepted"} {
		if _, h, g := row(t, out.String(), name); h != 0 || g != 0 {
			t.Errorf("%s: %d and %d", name, h, g)
		}
	}
	for _, name := range []string{"wrongly refused", "wrongly accepted"} {
		if once, _, _ := row(t, out.String(), name); once == 0 {
			t.Errorf("%s: the server that reads its token once has none", name)
		}
	}
	if once, h, _ := row(t, out.String(), "sent"); once-h > 5 || h-once > 5 {
		t.Errorf("%d requests went to the server that reads its token once, and %d to the agent", once, h)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 {
			t.Errorf("a line has %d columns: %s", len(line)-1, line)
		}
	}
	for _, text := range []string{"tokenagent_rotations_total: 6", "result=revoked", "result=expired", "good: "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is missing:\n%s", text, out.String())
		}
	}
	if strings.Contains(out.String(), "demo-") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("the output has a token or an escape sequence:\n%s", out.String())
	}
}

// With a verifier that answers wrongly, the demo counts errors and fails. The overlap does not
// end here, so two of the senders keep the first token, and each sends it after the change.
func TestDemoNoticesABrokenVerifier(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change change
		wrap   func(verify.Verifier) verify.Verifier
		row    string
	}{
		"open": {(*operator).rotate, func(v verify.Verifier) verify.Verifier {
			return verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
				if p, err := v.Verify(ctx, token); err == nil {
					return p, nil
				}
				return verify.NewPrincipal(verify.PrincipalConfig{Subject: "anybody"}), nil
			})
		}, "wrongly accepted"},
		"without overlap": {(*operator).rotate, func(v verify.Verifier) verify.Verifier {
			return verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
				p, err := v.Verify(ctx, token)
				if err == nil && p.Slot().String() == "previous" {
					return nil, verify.ErrInvalidToken
				}
				return p, err
			})
		}, "wrongly refused"},
		"revocation ignored": {(*operator).leak, func(v verify.Verifier) verify.Verifier {
			return verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
				p, err := v.Verify(ctx, token)
				if errors.Is(err, verify.ErrRevokedToken) {
					return verify.NewPrincipal(verify.PrincipalConfig{Subject: "leaked"}), nil
				}
				return p, err
			})
		}, "wrongly accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := options{overlap: time.Hour, changes: []change{c.change}, wrap: c.wrap}
			if err := run(t.Context(), &out, o); !errors.Is(err, exitcode.Refused) {
				t.Errorf("the error is %v, want %v", err, exitcode.Refused)
			}
			if _, h, g := row(t, out.String(), c.row); h == 0 || g == 0 {
				t.Errorf("%s: %d and %d\n%s", c.row, h, g, out.String())
			}
		})
	}
}

func TestDemoStopsWhenInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out stopper
	out.stop = cancel
	if err := run(ctx, &out, quick); !errors.Is(err, exitcode.Interrupted) {
		t.Errorf("%v\n%s", err, out.String())
	}
	row(t, out.String(), "sent")
	if !strings.Contains(out.String(), "interrupted: the demo is incomplete") || strings.Contains(out.String(), "good: ") {
		t.Errorf("it does not say that it is incomplete:\n%s", out.String())
	}
	if strings.Contains(out.String(), "leaked") {
		t.Error("it went on to the end")
	}
}

// A stopper cancels at the first rotation.
type stopper struct {
	bytes.Buffer
	stop func()
}

func (s *stopper) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(" replaces ")) {
		s.stop()
	}
	return s.Buffer.Write(p)
}

// TestScreen checks what a terminal shows: at most 80 columns, and the overlap as it ends.
func TestScreen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &screen{out: &out, terminal: true, began: time.Now()}
		s.overlap("0a1b2c3d", time.Second)
		if err := s.wait(t.Context(), 1500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		frames := strings.Split(out.String(), clearLine)
		if len(frames) != 17 {
			t.Errorf("%d frames, want one every 100 ms, and a clear line", len(frames))
		}
		for _, f := range frames {
			if n := utf8.RuneCountInString(f); n > 80 {
				t.Errorf("%d columns: %s", n, f)
			}
		}
		for n, want := range map[int]string{1: "still accepted for 1.0s", 6: "still accepted for 0.5s", 11: "its overlap is over"} {
			if !strings.Contains(frames[n], want) {
				t.Errorf("frame %d is %q, want %q", n, frames[n], want)
			}
		}
		if full, half := strings.Count(frames[1], "█"), strings.Count(frames[6], "█"); full != 30 || half != 16 {
			t.Errorf("the bar has %d and %d of 30 blocks, want all and half", full, half)
		}
		if s.colour(1, "x") != red+"x"+plain || s.colour(0, "x") != green+"x"+plain {
			t.Error("wrong answers are not red, or others not green")
		}
		s.terminal = false
		if s.colour(1, "x") != "x" {
			t.Error("colours outside a terminal")
		}
	})
}

func TestJudge(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	l := &demoToken{created: at(10), accepted: at(20), mayRefuse: at(100), mustRefuse: at(110)}
	for name, c := range map[string]struct {
		sent, answered int
		must, mustNot  bool
	}{
		"before it was known":     {1, 9, false, true},
		"while it was taken over": {5, 15, false, false},
		"accepted":                {20, 99, true, false},
		"over its deadline":       {99, 101, false, false},
		"on the edge":             {105, 108, false, false},
		"ended":                   {110, 120, false, true},
		"right through":           {15, 200, false, false},
	} {
		if must, mustNot := l.expected(at(c.sent), at(c.answered)); must != c.must || mustNot != c.mustNot {
			t.Errorf("%s: %t %t, want %t %t", name, must, mustNot, c.must, c.mustNot)
		}
	}
}
