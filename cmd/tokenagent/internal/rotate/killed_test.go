package rotate_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// rotateOn runs rotations until one is over, as a CronJob would start it again, and returns
// how often.
func (w *world) rotateOn(o func() auto.Options) int {
	w.t.Helper()
	for n := 1; n <= 5; n++ {
		ctx, kill := context.WithCancel(w.ctx)
		w.faults.kill = kill
		err := auto.New(o()).Run(ctx)
		kill()
		switch {
		case err == nil:
			return n
		case !errors.Is(err, exitcode.Interrupted):
			w.t.Errorf("run %d: %v", n, err)
		}
	}
	w.t.Error("it does not end")
	return 0
}

func TestWholeRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := newWorld(t, "a", "b")
		defer stop()
		begun := time.Now()
		if err := auto.New(w.options()).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.isRotated("a", "b")
		if took := time.Since(begun); took > 6*time.Minute {
			t.Errorf("it took %v", took)
		}
		var events []string
		awaited := false // pods that end and still send
		for _, p := range w.progress {
			awaited = awaited || strings.Contains(p.Message, "web restarts: still there: web-0-")
			if p.Event != "waiting" {
				events = append(events, p.Event+" "+p.Target)
			}
		}
		want := "staged secret a/token, staged secret b/token, promoted secret a/token, promoted secret b/token, restarted deployment a/web, " +
			"restarted deployment b/web, retired secret a/token, retired secret b/token, finished "
		if got := strings.Join(events, ", "); got != want {
			t.Errorf("it says %s", got)
		}
		if !awaited {
			t.Error("it did not wait for the old pods")
		}
		if got := len(w.api.List("/events/")); got != 6 {
			t.Errorf("there are %d Events", got)
		}
		before := len(w.api.Requests())
		if err := auto.New(w.options()).Run(t.Context()); err != nil || len(w.tokens) != 1 {
			t.Errorf("right after that: %v", err)
		}
		if n := len(w.api.Requests()) - before; n != 1 {
			t.Errorf("it sent %d requests", n)
		}
	})
}

// Whatever happens to any one request, a run that is started again finishes the rotation with
// one token, and no sender is refused. Each run of the test cuts some of the requests, and all of
// them if TOKENAGENT_TEST_CUT is "all".
func TestRotationThatIsCutAnywhereFinishes(t *testing.T) {
	status := func(code int) func(*faults, *http.Request) (*http.Response, error) {
		return func(*faults, *http.Request) (*http.Response, error) {
			return answer(code, map[string]string{"Retry-After": "2"}, `{"kind":"Status"}`), nil
		}
	}
	hang := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	carryOut := func(f *faults, req *http.Request) *http.Response {
		res, err := f.next.RoundTrip(req)
		if err != nil {
			return answer(500, nil, "")
		}
		return res
	}
	clock := func(d time.Duration, isKilled bool) func(*faults, *http.Request) (*http.Response, error) {
		return func(f *faults, req *http.Request) (*http.Response, error) {
			f.jump(d)
			if isKilled {
				f.kill()
				return nil, req.Context().Err()
			}
			return f.pass(req)
		}
	}
	for name, do := range map[string]func(*faults, *http.Request) (*http.Response, error){
		"clock forward":         clock(30*time.Minute, false),  //nolint:bodyclose // the client closes it
		"clock back":            clock(-30*time.Minute, false), //nolint:bodyclose // the client closes it
		"killed, clock forward": clock(30*time.Minute, true),   //nolint:bodyclose // the client closes it
		"killed, clock back":    clock(-30*time.Minute, true),  //nolint:bodyclose // the client closes it
		"killed before": func(f *faults, req *http.Request) (*http.Response, error) {
			f.kill()
			return nil, req.Context().Err()
		},
		"killed after": func(f *faults, req *http.Request) (*http.Response, error) {
			carryOut(f, req)
			f.kill()
			return nil, req.Context().Err()
		},
		"conflict":    status(http.StatusConflict),            //nolint:bodyclose // the client closes it
		"put off":     status(http.StatusTooManyRequests),     //nolint:bodyclose // the client closes it
		"failed":      status(http.StatusInternalServerError), //nolint:bodyclose // the client closes it
		"unavailable": status(http.StatusServiceUnavailable),  //nolint:bodyclose // the client closes it
		"failed after": func(f *faults, req *http.Request) (*http.Response, error) {
			carryOut(f, req)
			return answer(http.StatusInternalServerError, nil, ""), nil
		},
		"no answer":       func(_ *faults, req *http.Request) (*http.Response, error) { return hang(req) },
		"no answer after": func(f *faults, req *http.Request) (*http.Response, error) { carryOut(f, req); return hang(req) },
		"half an answer": func(f *faults, req *http.Request) (*http.Response, error) {
			res := carryOut(f, req)
			text, _ := io.ReadAll(res.Body)
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(text[:len(text)/2])), broken{}))
			return res, nil
		},
		"a short answer": func(f *faults, req *http.Request) (*http.Response, error) {
			res := carryOut(f, req)
			text, _ := io.ReadAll(res.Body)
			return answer(res.StatusCode, nil, string(text[:len(text)/2])), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			every := 12
			if os.Getenv("TOKENAGENT_TEST_CUT") == "all" {
				every = 1
			}
			last := 1
			for at := 1 + len(name)%every; at <= max(last, every); at += every {
				synctest.Test(t, func(t *testing.T) {
					w, stop := newWorld(t, "a", "b")
					defer stop()
					w.faults.at, w.faults.do = at, do
					w.rotateOn(w.options)
					w.isRotated("a", "b")
					last = w.faults.seen
				})
				if t.Failed() {
					t.Fatalf("at request %d", at)
				}
			}
			t.Logf("%d requests", last)
		})
	}
}

// broken is a connection that is lost.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
