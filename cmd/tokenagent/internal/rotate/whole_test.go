package rotate_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// inWorld runs f in a new world with the namespaces a and b.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, stop := newWorld(t, "a", "b")
		defer stop()
		f(t, w)
	})
}

// fails checks that a run stops with exit code 1 and an error that says text.
func (w *world) fails(o auto.Options, text string) {
	w.t.Helper()
	err := auto.New(o).Run(w.ctx)
	if err == nil || exitcode.Of(err) != 1 || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "CANARY") {
		w.t.Errorf("%v; want %s", err, text)
	}
}

// step returns in which step the namespace is.
func (w *world) step(ns string) string {
	keys := w.keys(ns)
	switch {
	case keys["token-next"] != nil:
		return "staged"
	case keys["token-previous"] != nil:
		return "promoted"
	}
	return "idle"
}

func (w *world) noneRefused() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refused) > 0 {
		w.t.Errorf("%d refused, first: %s", len(w.refused), w.refused[0])
	}
}

// Two runs at the same time work on one rotation, whoever is first.
func TestTwoRunsAtTheSameTime(t *testing.T) {
	for _, lag := range []time.Duration{0, time.Millisecond, 30 * time.Second, 90 * time.Second, 3 * time.Minute} {
		inWorld(t, func(t *testing.T, w *world) {
			var both sync.WaitGroup
			for i := range 2 {
				both.Go(func() {
					if !w.sleep(lag * time.Duration(i)) {
						return
					}
					if err := auto.New(w.options()).Run(w.ctx); err != nil {
						t.Errorf("%v: run %d: %v", lag, i, err)
					}
				})
			}
			both.Wait()
			w.isRotated("a", "b")
		})
	}
}

// Without agents to ask, the run waits for the receivers, and for the deadline.
func TestRotationWithoutAgents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := w.options()
		o.HasReceivers, o.Services = false, nil
		begun := time.Now()
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.isRotated("a", "b")
		if took := time.Since(begun); took < 62*time.Minute || took > 63*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// A second attempt does not trust the clock of the first one.
func TestStageWaitBeginsAnewAfterAKill(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := w.options()
		o.HasReceivers, o.Services = false, nil
		ctx, kill := context.WithTimeout(t.Context(), 90*time.Second)
		defer kill()
		if err := auto.New(o).Run(ctx); exitcode.Of(err) != 130 || !strings.Contains(err.Error(), "the targets are staged, and the old and the new token are accepted; run it again to go on") {
			t.Error(err)
		}
		ctx, kill = context.WithTimeout(t.Context(), 119*time.Second)
		defer kill()
		_ = auto.New(o).Run(ctx)
		if got := w.step("a"); got != "staged" {
			t.Errorf("it is %s", got)
		}
		w.rotateOn(func() auto.Options { return o })
		w.isRotated("a", "b")
	})
}

func TestDistinctTokens(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.api.Put(secretPath("b"), object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"labels": object{"group": "app"}}, "data": object{"token": base64.StdEncoding.EncodeToString([]byte(two))}})
		o := w.options()
		o.Distinct, o.HasSenders, o.Senders = true, false, nil // they would send to the other namespace
		w.mu.Lock()
		clear(w.senders)
		w.mu.Unlock()
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, b := w.keys("a"), w.keys("b")
		if string(a["token"]) == string(b["token"]) || string(a["token"]) == one || string(b["token"]) == two || w.step("a")+w.step("b") != "idleidle" {
			t.Errorf("%v, %v", keysOf(a), keysOf(b))
		}
	})
}

// A rollout that fails leaves both tokens accepted. Once it is fixed, the next run goes on.
func TestFailedRolloutStopsBeforeTheOldTokenIsRetired(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		replace := w.rollOut
		w.rollOut = func(ns string) {
			o := w.api.Get(deploymentPath(ns))
			o["status"] = object{
				"observedGeneration": o["metadata"].(object)["generation"], "replicas": pods + 1, "updatedReplicas": 1, "availableReplicas": pods,
				"conditions": []any{object{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}},
			}
			w.api.Put(deploymentPath(ns), o)
		}
		w.fails(w.options(), "/web: its rollout has failed (ProgressDeadlineExceeded); see kubectl describe, and fix the pods; the targets are promoted, and the old and the new token are accepted")
		if !w.sleep(20*time.Minute) || w.step("a") != "promoted" {
			t.Errorf("it is %s", w.step("a"))
		}
		w.noneRefused()
		w.rollOut = replace
		for _, ns := range []string{"a", "b"} {
			w.all.Go(func() { w.rollOut(ns) })
		}
		w.sleep(time.Minute)
		w.rotateOn(w.options)
		w.isRotated("a", "b")
	})
}

// A receiver that does not answer keeps the rotation before its next step, also before the last
// one.
func TestUnreadyReceiverStopsTheRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const url = "http://10.0.1.1:9464"
		lost := w.agents[url]
		w.mu.Lock()
		delete(w.agents, url)
		w.mu.Unlock()
		o := w.options()
		o.Timeout = 10 * time.Minute
		w.fails(o, "3 of 4 receivers have the new token after 10m0s; not yet: "+url+": no answer; fix these receivers; the targets are staged")
		failed := w.api.List("token." + w.progress[0].Rotation + ".failed.")
		if len(failed) != 2 || w.api.Get(failed[0])["type"] != "Warning" || !strings.Contains(fmt.Sprint(w.api.Get(failed[1])["message"]), url+": no answer") {
			t.Errorf("the Events are %v", failed)
		}
		w.noneRefused()
		go func() { // it is back until the promotion
			w.mu.Lock()
			w.agents[url] = lost
			w.mu.Unlock()
			for w.step("b") != "promoted" && w.sleep(time.Second) {
			}
			w.mu.Lock()
			delete(w.agents, url)
			w.mu.Unlock()
		}()
		w.fails(o, "; not yet: "+url+": no answer; fix these receivers; the targets are promoted, and the deadline of the old token has passed; run it again to go on")
		if got := w.step("a"); got != "promoted" {
			t.Errorf("it is %s", got)
		}
		w.mu.Lock()
		w.agents[url] = lost
		w.mu.Unlock()
	})
}

// A Service without a pod may be a wrong name. It keeps the rotation where it is, although
// others have receivers.
func TestServiceWithoutAPodStopsTheRotation(t *testing.T) {
	for says, change := range map[string]func(w *world, o *auto.Options){
		"4 of 5 receivers have the new token after 10m0s; not yet: no pod is behind the Service a/receiver (see --agents)": func(_ *world, o *auto.Options) {
			o.Services = append(o.Services, auto.Service{Namespace: "a", Name: "receiver", Port: 9464})
		},
		"2 of 3 receivers have the new token after 10m0s; not yet: no pod is behind the Service b/receivers": func(w *world, _ *auto.Options) {
			w.api.Delete("/apis/discovery.k8s.io/v1/namespaces/b/endpointslices/receivers")
		},
		"not yet: no pod is behind the Service b/receivers": func(w *world, o *auto.Options) {
			o.AllNamespaces = true
			w.api.Delete("/apis/discovery.k8s.io/v1/namespaces/b/endpointslices/receivers")
		},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			o := w.options()
			o.Timeout = 10 * time.Minute
			change(w, &o)
			w.fails(o, says)
			if got := w.step("a") + w.step("b"); got != "stagedstaged" {
				t.Errorf("%s: %s", says, got)
			}
		})
	}
}

func TestAbort(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration // of the run that is aborted
		says  string
		again string // said by a second abort
		step  string
	}{
		"not begun": {0, "there is nothing to undo", "there is nothing to undo", "idle"},
		"staged":    {time.Second, "is taken out, and no sender has used it", "there is nothing to undo", "idle"},
		"promoted":  {80 * time.Second, "the old token is current again", "aborted already", "promoted"},
		"retired":   {10 * time.Minute, "there is nothing to undo", "there is nothing to undo", "idle"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			ctx, kill := context.WithTimeout(t.Context(), test.after)
			defer kill()
			_ = auto.New(w.options()).Run(ctx)
			w.progress = nil
			for n, says := range []string{test.says, test.again} {
				if err := auto.New(w.options()).Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
				if last := w.progress[len(w.progress)-1]; !strings.Contains(last.Message, says) || w.step("a") != test.step {
					t.Errorf("%s, abort %d: %v, and it is %s", name, n+1, w.progress, w.step("a"))
				}
			}
			if old := string(w.keys("a")["token"]) == one; old == (name == "retired") {
				t.Errorf("%s: the wrong token is current", name)
			}
			w.sleep(2 * time.Minute)
			w.noneRefused()
			if name != "promoted" {
				return
			}
			if err := auto.New(w.options()).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.noneRefused()
			if w.step("a") != "idle" || string(w.keys("a")["token"]) != one {
				t.Errorf("it is %s", w.step("a"))
			}
			for path, token := range w.senders {
				if token != one {
					t.Errorf("%s still sends the new token", path)
				}
			}
		})
	}
}

// A dry run of abort says what it would do.
func TestAbortDryRunWritesNothing(t *testing.T) {
	for says, after := range map[string]time.Duration{
		"abort would take out the staged token, in 2 targets; nothing was written":      time.Second,
		"abort would make the old token current again, and the new one previous until ": 80 * time.Second,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			ctx, kill := context.WithTimeout(t.Context(), after)
			defer kill()
			_ = auto.New(w.options()).Run(ctx)
			w.progress = nil
			before := w.step("a")
			o := w.options()
			o.DryRun = true
			if err := auto.New(o).Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(w.progress) != 1 || w.progress[0].Event != "checked" || !strings.Contains(w.progress[0].Message, says) || w.step("a") != before {
				t.Errorf("%v, and it is %s", w.progress, w.step("a"))
			}
		})
	}
}

// A run whose rotation is aborted meanwhile ends, and does not begin another one.
func TestAbortEndsTheRun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.all.Go(func() {
			if w.sleep(70 * time.Second) {
				if err := auto.New(w.options()).Abort(w.ctx); err != nil {
					t.Error(err)
				}
			}
		})
		o := w.options()
		o.HasReceivers = false
		w.fails(o, "somebody has aborted this rotation in secret a/token; nothing more is done")
		if w.step("a")+w.step("b") != "idleidle" {
			t.Errorf("%s, %s", w.step("a"), w.step("b"))
		}
		if err := auto.New(o).Run(t.Context()); err != nil || w.step("a") != "idle" || string(w.keys("a")["token"]) != one {
			t.Errorf("a run that is tried again: %v, and it is %s", err, w.step("a"))
		}
	})
}

// What would go wrong later is found before the first write.
func TestChecksBeforeTheFirstWrite(t *testing.T) {
	manager := func(op, manager, key string) object {
		return object{"metadata": object{"labels": object{"group": "app"}, "managedFields": []any{object{"manager": manager, "operation": op, "fieldsV1": object{"f:data": object{"f:" + key: object{}}}}}}}
	}
	labels := func(more object) object {
		more["group"] = "app"
		return object{"metadata": object{"labels": more}}
	}
	for name, test := range map[string]struct {
		change object
		says   string
	}{
		"Flux":             {labels(object{"kustomize.toolkit.fluxcd.io/name": "x"}), "secret b/token: the Secret is managed by Flux"},
		"Argo CD":          {labels(object{"argocd.argoproj.io/instance": "x"}), "managed by Argo CD"},
		"External Secrets": {object{"metadata": object{"labels": object{"group": "app"}, "ownerReferences": []any{object{"kind": "ExternalSecret", "controller": true}}}}, "managed by External Secrets"},
		"Sealed Secrets":   {object{"metadata": object{"labels": object{"group": "app"}, "ownerReferences": []any{object{"kind": "SealedSecret", "controller": true}}}}, "managed by Sealed Secrets"},
		"server-side":      {manager("Apply", "deployer", "token"), `the field manager "deployer" applies its key token`},
		"other key":        {manager("Apply", "deployer", "mine"), ""},
		"update":           {manager("Update", "deployer", "token"), ""},
		"immutable":        {object{"immutable": true}, "secret b/token is immutable"},
		"revoked":          {object{"data": object{"token": base64.StdEncoding.EncodeToString([]byte(one)), "token-revoked": base64.StdEncoding.EncodeToString([]byte(id(one)))}}, "the current token is revoked"},
		"no token":         {object{"data": object{"token-next": base64.StdEncoding.EncodeToString([]byte(two))}}, "token"},
		"promoted":         {object{"data": object{"token": base64.StdEncoding.EncodeToString([]byte(two)), "token-previous": base64.StdEncoding.EncodeToString([]byte(one))}}, "the targets are in different steps: idle: secret a/token; promoted: secret b/token"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			o := w.api.Get(secretPath("b"))
			maps.Copy(o, test.change)
			w.api.Put(secretPath("b"), o)
			run := w.options()
			run.DryRun = true
			err := auto.New(run).Run(t.Context())
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", name, err)
			}
			for _, r := range w.api.Requests() {
				if !strings.HasPrefix(r, "GET ") && !strings.HasSuffix(r, "dryRun=All") {
					t.Errorf("%s: %s", name, r)
				}
			}
			if name == "Flux" {
				run = w.options()
				run.IgnoreOwner, run.DryRun = true, true
				if err := auto.New(run).Run(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		o := w.api.Get(deploymentPath("b"))
		o["spec"].(object)["paused"] = true
		w.api.Put(deploymentPath("b"), o)
		w.fails(w.options(), "deployment b/web: it is paused")
		w.api.Delete(deploymentPath("b"))
		w.fails(w.options(), "deployment b/web: get: not found")
		if w.step("a") != "idle" {
			t.Error("it has staged a token")
		}
	})
}

// What people did by hand counts.
func TestRunGoesOnWithARotationByHand(t *testing.T) {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for name, data := range map[string]object{
		"staged":   {"token": encode(one), "token-next": encode(two), "mine": "eA=="},
		"promoted": {"token": encode(two), "token-previous": encode(one), "token-previous-until": encode("2000-01-01T06:00:00Z"), "mine": "eA=="},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			for _, ns := range []string{"a", "b"} {
				o := w.api.Get(secretPath(ns))
				o["data"] = data
				w.api.Put(secretPath(ns), o)
			}
			if name == "promoted" {
				w.sleep(2 * time.Minute)
				w.refused = nil // nobody had staged it
			}
			if err := auto.New(w.options()).Run(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			w.isRotated("a", "b")
			if got := string(w.keys("a")["token"]); got != two {
				t.Errorf("%s: another token was made", name)
			}
		})
	}
}

// A client rotates alone.
func TestRotationOfOneClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, ns := range []string{"a", "b"} {
			o := w.api.Get(secretPath(ns))
			o["data"].(object)["token.ci"] = base64.StdEncoding.EncodeToString([]byte(two))
			w.api.Put(secretPath(ns), o)
		}
		o := w.options()
		o.Secrets.Read.Client = "ci"
		o.HasSenders = false
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys := w.keys("a")
		if string(keys["token"]) != one || string(keys["token.ci"]) == two || len(keys) != 4 {
			t.Errorf("%v", keysOf(keys))
		}
		o.Secrets.Read.Client = "cd"
		w.fails(o, "it has no current token of the client")
	})
}
