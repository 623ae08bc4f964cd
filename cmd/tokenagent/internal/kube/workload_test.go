package kube_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
)

func TestRollout(t *testing.T) {
	with := func(o object, more object) object {
		o = maps.Clone(o)
		maps.Copy(o, more)
		return o
	}
	spec := object{"replicas": 2, "selector": object{"matchLabels": object{"b": "2", "a": "1"}}, "template": object{}}
	good := object{"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
	daemons := object{"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
	failed := object{"conditions": []any{object{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}}
	for name, test := range map[string]struct {
		kind         string
		spec, status object
		complete     bool
		stuck        string
	}{
		"complete":       {kube.Deployment, spec, good, true, ""},
		"not seen":       {kube.Deployment, spec, with(good, object{"observedGeneration": 0}), false, ""},
		"not updated":    {kube.Deployment, spec, with(good, object{"updatedReplicas": 1}), false, ""},
		"old pods":       {kube.Deployment, spec, with(good, object{"replicas": 3}), false, ""},
		"not available":  {kube.Deployment, spec, with(good, object{"availableReplicas": 1}), false, ""},
		"failed":         {kube.Deployment, spec, with(with(good, failed), object{"updatedReplicas": 1}), false, "has failed (ProgressDeadlineExceeded)"},
		"failed before":  {kube.Deployment, spec, with(with(good, failed), object{"observedGeneration": 0}), false, ""},
		"was slow":       {kube.Deployment, spec, with(good, failed), true, ""},
		"paused":         {kube.Deployment, with(spec, object{"paused": true}), good, true, "is paused"},
		"none":           {kube.Deployment, with(spec, object{"replicas": 0}), object{"observedGeneration": 1}, true, ""},
		"by default one": {kube.Deployment, object{}, object{"observedGeneration": 1}, false, ""},
		"partition":      {kube.StatefulSet, with(spec, object{"updateStrategy": object{"rollingUpdate": object{"partition": 1}}}), good, true, "partition"},
		"on delete":      {kube.StatefulSet, with(spec, object{"updateStrategy": object{"type": "OnDelete"}}), good, true, "OnDelete"},
		"stateful":       {kube.StatefulSet, spec, good, true, ""},
		"daemons":        {kube.DaemonSet, with(spec, object{"replicas": nil}), daemons, true, ""},
		"daemons, late":  {kube.DaemonSet, spec, with(daemons, object{"numberAvailable": 2}), false, ""},
	} {
		api := &kubetest.Server{}
		w := kube.Workload{Kind: test.kind, Namespace: "app", Name: "web"}
		api.Put("/apis/apps/v1/namespaces/app/"+test.kind+"s/web", object{"spec": test.spec, "status": test.status})
		r, err := client(t, api).Rollout(t.Context(), w)
		if err != nil || r.Complete != test.complete || test.stuck == "" && r.Stuck != "" || !strings.Contains(r.Stuck, test.stuck) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if name == "complete" && r.Selector != "a=1,b=2" {
			t.Errorf("the selector is %q", r.Selector)
		}
	}
}

// Everything but the annotations stays as it is.
func TestAnnotateThePodTemplate(t *testing.T) {
	api := &kubetest.Server{}
	const path = "/apis/apps/v1/namespaces/app/deployments/web"
	api.Put(path, object{"spec": object{"unknown": 1.5, "template": object{"metadata": object{"annotations": object{"mine": "1", "r": "0"}}, "spec": object{"x": "y"}}}})
	c := client(t, api)
	r, err := c.Rollout(t.Context(), kube.Workload{Kind: kube.Deployment, Namespace: "app", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	want := object{"unknown": 1.5, "template": object{"metadata": object{"annotations": object{"mine": "1", "r": "1"}}, "spec": object{"x": "y"}}}
	add := map[string]string{"r": "1"}
	if err := c.Annotate(t.Context(), r, add, true); err != nil || api.Get(path)["metadata"].(object)["generation"] != 1.0 {
		t.Errorf("a dry run: %v, %v", err, api.Get(path))
	}
	if err := c.Annotate(t.Context(), r, add, false); err != nil {
		t.Fatal(err)
	}
	if got := api.Get(path); !equal(got["spec"], want) || got["metadata"].(object)["generation"] != 2.0 {
		t.Errorf("%v", got)
	}
	if err := c.Annotate(t.Context(), r, add, false); !kube.Is(err, kube.Conflict) {
		t.Errorf("%v", err)
	}
	api.Put(path, object{"spec": object{"template": object{}}})
	if r, err = c.Rollout(t.Context(), kube.Workload{Kind: kube.Deployment, Namespace: "app", Name: "web"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Annotate(t.Context(), r, add, false); err != nil || !equal(api.Get(path)["spec"], object{"template": object{"metadata": object{"annotations": object{"r": "1"}}}}) {
		t.Errorf("%v, %v", err, api.Get(path))
	}
}

func TestOldPodsAreThoseWithoutTheAnnotation(t *testing.T) {
	api := &kubetest.Server{}
	pod := func(name, label, value, phase string, owners ...any) {
		api.Put("/api/v1/namespaces/app/pods/"+name, object{
			"metadata": object{"labels": object{"app": label}, "annotations": object{"r": value}, "ownerReferences": owners},
			"status":   object{"phase": phase},
		})
	}
	by := func(kind, name string) object { return object{"kind": kind, "name": name, "controller": true} }
	web := by("ReplicaSet", "web-5d8f")
	pod("new", "web", "1", "Running", web)
	pod("old", "web", "0", "Running", web)
	pod("starting", "web", "", "Pending", web)
	pod("ended", "web", "0", "Succeeded", web)
	pod("other", "db", "0", "Running", web)
	pod("stateful", "web", "0", "Running", by("StatefulSet", "web"))
	pod("daemon", "web", "0", "Running", by("DaemonSet", "web"))
	pod("of another", "web", "0", "Running", by("StatefulSet", "web-5d8f"))
	pod("job", "web", "0", "Running", by("Job", "web-1"))
	pod("canary", "web", "0", "Running", by("ReplicaSet", "web-canary-77bc"))
	pod("alone", "web", "0", "Running")
	pod("no controller", "web", "0", "Running", object{"kind": "ReplicaSet", "name": "web-5d8f"})
	for kind, want := range map[string][]string{kube.Deployment: {"old", "starting"}, kube.StatefulSet: {"stateful"}, kube.DaemonSet: {"daemon"}} {
		w := kube.Workload{Kind: kind, Namespace: "app", Name: "web"}
		got, err := client(t, api).OldPods(t.Context(), w, "app=web", func(a map[string]string) bool { return a["r"] == "1" })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
}

// equal compares as JSON does, where all numbers are float64.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }
