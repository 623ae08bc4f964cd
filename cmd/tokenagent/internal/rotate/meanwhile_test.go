package rotate_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
)

// through lets the requests of a run pass through do, which returns nil to pass them on.
func (w *world) through(o auto.Options, do func(*http.Request) *http.Response) auto.Options {
	w.t.Helper()
	client, err := kube.New("https://api.example", before{w.api, do})
	if err != nil {
		w.t.Fatal(err)
	}
	secrets := *o.Secrets
	secrets.Client = client
	o.Secrets, o.Client = &secrets, client
	return o
}

type before struct {
	next http.RoundTripper
	do   func(*http.Request) *http.Response
}

func (b before) RoundTrip(req *http.Request) (*http.Response, error) {
	if res := b.do(req); res != nil {
		return res, nil
	}
	return b.next.RoundTrip(req)
}

func isWrite(req *http.Request) bool {
	return req.Method == http.MethodPut && !strings.Contains(req.URL.RawQuery, "dryRun")
}

// The first Secret decides whether a promotion or an abort goes on, so never is a token current
// in one namespace and refused in another.
func TestAbortThatMeetsAPromotion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		delay := func(in map[string]time.Duration) func(*http.Request) *http.Response {
			return func(req *http.Request) *http.Response {
				if isWrite(req) {
					w.sleep(in[req.URL.Path])
				}
				return nil
			}
		}
		w.all.Go(func() {
			w.sleep(2*time.Minute + 500*time.Millisecond)
			o := w.through(w.options(), delay(map[string]time.Duration{secretPath("a"): 5 * time.Second})) //nolint:bodyclose // it returns none
			o.Timeout = time.Minute                                                                        // the default of abort
			if err := auto.New(o).Abort(w.ctx); err != nil {
				t.Error(err)
			}
		})
		o := w.through(w.options(), delay(map[string]time.Duration{secretPath("a"): time.Second, secretPath("b"): time.Second})) //nolint:bodyclose // it returns none
		o.HasReceivers, o.StageWait = false, 2*time.Minute-2*time.Second                                                         // staging takes 2 s
		w.fails(o, "is in the rotation")
		w.sleep(3 * time.Minute)
		w.noneRefused()
		if a, b := string(w.keys("a")["token"]), string(w.keys("b")["token"]); a != one || b != one {
			t.Errorf("%s, %s", fingerprint(a), fingerprint(b))
		}
	})
}

// A token that replaces the staged one is promoted only after the receivers were asked for it.
func TestTokenThatIsStagedMeanwhileIsAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var once atomic.Bool
		o := w.options()
		o.Gate.Ask = func(ctx context.Context, url string) (statusclient.Answer, error) {
			a, err := w.ask(ctx, url)
			if w.step("b") != "staged" || !w.loadedEverywhere() {
				return a, err
			}
			if once.CompareAndSwap(false, true) {
				for _, ns := range []string{"a", "b"} {
					o := w.api.Get(secretPath(ns))
					o["data"].(object)["token-next"] = base64.StdEncoding.EncodeToString([]byte(two))
					w.api.Put(secretPath(ns), o)
				}
				w.sleep(61 * time.Second) // the answers take long
			}
			return a, err
		}
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.noneRefused()
		if got := string(w.keys("a")["token"]); got != two {
			t.Errorf("the token is %s", fingerprint(got))
		}
	})
}

// loadedEverywhere reports whether every agent accepts what is staged.
func (w *world) loadedEverywhere() bool {
	next := string(w.keys("b")["token-next"])
	for _, a := range w.agents {
		if _, err := a.Verify(w.ctx, next); err != nil {
			return false
		}
	}
	return true
}

// A server that reads everything and refuses every write ends the run, after pauses.
func TestServerThatRefusesEveryWriteEndsTheRun(t *testing.T) {
	for _, code := range []int{http.StatusInternalServerError, http.StatusConflict} {
		inWorld(t, func(t *testing.T, w *world) {
			refused := 0
			o := w.through(w.options(), func(req *http.Request) *http.Response {
				if !isWrite(req) || w.step("b") == "idle" {
					return nil
				}
				refused++
				return answer(code, nil, `{"kind":"Status"}`)
			})
			o.Timeout = 20 * time.Minute
			w.fails(o, "; this lasts for 20m")
			if refused > 150 {
				t.Errorf("%d: it sent %d writes", code, refused)
			}
		})
	}
}

// A run that waits notices that another one has taken the rotation back.
func TestRunThatWaitsNoticesAnAbort(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.all.Go(func() {
			if !w.sleep(10 * time.Minute) {
				return
			}
			if err := auto.New(w.options()).Abort(w.ctx); err != nil {
				t.Error(err)
			}
			if err := auto.New(w.options()).Run(w.ctx); err != nil {
				t.Error(err)
			}
		})
		o := w.options()
		o.HasReceivers = false // it waits for an hour
		begun := time.Now()
		w.fails(o, "is in the rotation")
		if took := time.Since(begun); took > 12*time.Minute {
			t.Errorf("it took %v", took)
		}
		w.sleep(2 * time.Hour)
		w.noneRefused()
		for path, token := range w.senders {
			if token != one {
				t.Errorf("%s still sends the new token", path)
			}
		}
	})
}

// Nothing is restarted for a rotation that was taken back a moment ago.
func TestNoRestartAfterAnAbort(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var once atomic.Bool
		o := w.through(w.options(), func(req *http.Request) *http.Response {
			if strings.Contains(req.URL.Path, "/deployments/") && w.step("b") == "promoted" {
				if once.CompareAndSwap(false, true) {
					if err := auto.New(w.options()).Abort(w.ctx); err != nil {
						t.Error(err)
					}
				}
			}
			return nil
		})
		w.fails(o, "is in the rotation")
		if got := w.api.Get(deploymentPath("a"))["spec"].(object)["template"].(object); len(got) > 0 {
			t.Errorf("it was restarted: %v", got)
		}
	})
}

// A run that goes on checks what comes, too, before its first write.
func TestChecksOfARunThatGoesOn(t *testing.T) {
	for _, last := range []string{"staged", "promoted"} {
		inWorld(t, func(t *testing.T, w *world) {
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			o := w.options()
			o.Progress = func(p auto.Progress) {
				if p.Event == last && p.Target == "secret b/token" {
					kill()
				}
			}
			_ = auto.New(o).Run(ctx)
			if got := w.step("b"); got != last {
				t.Fatalf("it is %s", got)
			}
			is := w.api.Get(secretPath("b"))
			is["metadata"].(object)["labels"].(object)["kustomize.toolkit.fluxcd.io/name"] = "x"
			w.api.Put(secretPath("b"), is)
			n := len(w.api.Requests())
			w.fails(w.options(), "secret b/token: the Secret is managed by Flux")
			for _, r := range w.api.Requests()[n:] {
				if !strings.HasPrefix(r, "GET ") && !strings.HasSuffix(r, "dryRun=All") && !strings.HasSuffix(r, "/events") {
					t.Errorf("%s: %s", last, r)
				}
			}
		})
	}
}

// Rights that are needed only later are tried before the first write.
func TestChecksTheRightToList(t *testing.T) {
	for _, what := range []string{"/endpointslices", "/pods"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.fails(w.through(w.options(), func(req *http.Request) *http.Response {
				if !strings.HasSuffix(req.URL.Path, what) {
					return nil
				}
				return answer(http.StatusForbidden, nil, `{"kind":"Status","reason":"Forbidden"}`)
			}), "list: forbidden; allow the verb list on "+what[1:]+" there")
			if w.step("a") != "idle" {
				t.Errorf("%s: it has staged a token", what)
			}
		})
	}
}

// A workload whose status changes all the time does not keep a run from stopping, nor is it
// asked without a pause.
func TestRestartThatAlwaysMeetsAConflictEnds(t *testing.T) {
	for _, dry := range []bool{true, false} {
		inWorld(t, func(t *testing.T, w *world) {
			var refused atomic.Int64
			o := w.through(w.options(), func(req *http.Request) *http.Response {
				isDry := strings.Contains(req.URL.RawQuery, "dryRun")
				if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/deployments/") || isDry != dry {
					return nil
				}
				refused.Add(1)
				return answer(http.StatusConflict, nil, `{"kind":"Status"}`)
			})
			o.Timeout = 20 * time.Minute
			w.fails(o, "; this lasts for 20m")
			if n := refused.Load(); n > 800 {
				t.Errorf("it sent %d restarts", n)
			}
		})
	}
}
