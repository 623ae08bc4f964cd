package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The kinds of workloads that can be restarted.
const (
	Deployment  = "deployment"
	StatefulSet = "statefulset"
	DaemonSet   = "daemonset"
)

// A Workload names a Deployment, a StatefulSet or a DaemonSet.
type Workload struct{ Kind, Namespace, Name string }

func (w Workload) String() string { return w.object().String() }

func (w Workload) object() object { return object{w.Kind, w.Namespace, w.Name} }

func (w Workload) path() string {
	return "/apis/apps/v1/namespaces/" + url.PathEscape(w.Namespace) + "/" + w.Kind + "s/" + url.PathEscape(w.Name)
}

// A Rollout is how far a workload is with its latest pod template.
type Rollout struct {
	Annotations map[string]string // of the pod template
	Selector    string            // of its pods
	Complete    bool              // all pods are of the template, and available
	Progress    string            // for people, while it is not complete
	// Stuck says why it does not go on by itself, and the fix. It is "" while it does.
	Stuck string

	workload Workload
	object   map[string]json.RawMessage
}

// Rollout returns how far w is.
func (c *Client) Rollout(ctx context.Context, w Workload) (Rollout, error) {
	var text json.RawMessage
	if err := c.send(ctx, http.MethodGet, w.path(), w.object(), nil, &text); err != nil {
		return Rollout{}, err
	}
	r := Rollout{workload: w}
	var o workload
	if json.Unmarshal(text, &r.object) != nil || json.Unmarshal(text, &o) != nil {
		return Rollout{}, &Error{Reason: Broken, method: http.MethodGet, object: w.object()}
	}
	r.Annotations, r.Selector = o.Spec.Template.Metadata.Annotations, o.Spec.Selector.String()
	r.Complete, r.Progress, r.Stuck = o.progress(w.Kind)
	return r, nil
}

// Annotate adds annotations to the pod template of r, which makes the workload replace its
// pods. The error is a [Conflict] if the workload has changed since r was read, as its
// status often does. With dry the API server does everything but store it.
func (c *Client) Annotate(ctx context.Context, r Rollout, annotations map[string]string, dry bool) error {
	all := maps.Clone(annotations)
	for name, value := range r.Annotations {
		if _, given := all[name]; !given {
			all[name] = value
		}
	}
	body, err := with(r.object, all, "spec", "template", "metadata", "annotations")
	if err != nil {
		return err
	}
	w := r.workload
	return c.send(ctx, http.MethodPut, dryRun(w.path(), dry), w.object(), body, nil)
}

// with returns o as JSON with value at path. Everything else keeps its text.
func with(o map[string]json.RawMessage, value any, path ...string) (json.RawMessage, error) {
	if len(path) == 0 {
		return json.Marshal(value)
	}
	o = maps.Clone(o)
	if o == nil {
		o = map[string]json.RawMessage{}
	}
	var inner map[string]json.RawMessage
	if len(path) > 1 && o[path[0]] != nil {
		if err := json.Unmarshal(o[path[0]], &inner); err != nil {
			return nil, err
		}
	}
	text, err := with(inner, value, path[1:]...)
	if err != nil {
		return nil, err
	}
	o[path[0]] = text
	return json.Marshal(o)
}

// OldPods returns the names of the pods of w whose annotations say that they are not new.
// The selector, that of w, may match pods of others, which do not count. A pod that has
// ended does not count either; one that is ending does.
func (c *Client) OldPods(ctx context.Context, w Workload, selector string, isNew func(annotations map[string]string) bool) (names []string, err error) {
	path := "/api/v1/namespaces/" + url.PathEscape(w.Namespace) + "/pods"
	about := object{kind: "pod", namespace: w.Namespace}
	err = c.list(ctx, path, url.Values{"labelSelector": {selector}}, about, func(item json.RawMessage) error {
		var pod struct {
			Metadata struct {
				Name            string
				Annotations     map[string]string
				OwnerReferences []owner
			}
			Status struct{ Phase string }
		}
		if json.Unmarshal(item, &pod) != nil {
			return &Error{Reason: Broken, method: http.MethodGet, object: about}
		}
		ended := pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed"
		if !ended && !isNew(pod.Metadata.Annotations) && slices.ContainsFunc(pod.Metadata.OwnerReferences, w.controls) {
			names = append(names, pod.Metadata.Name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// MayListPods returns an error if [Client.OldPods] would fail in the namespace.
func (c *Client) MayListPods(ctx context.Context, namespace string) error {
	path := "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods?limit=1"
	return c.send(ctx, http.MethodGet, path, object{kind: "pod", namespace: namespace}, nil, nil)
}

// An owner is an ownerReference.
type owner struct {
	Kind, Name string
	Controller bool
}

// controls reports whether o is w, or one of the ReplicaSets of w. Their names are that of
// the Deployment, a hyphen and a hash, which has no hyphen
// (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/).
func (w Workload) controls(o owner) bool {
	if w.Kind != Deployment {
		return o.Controller && strings.EqualFold(o.Kind, w.Kind) && o.Name == w.Name
	}
	hash, is := strings.CutPrefix(o.Name, w.Name+"-")
	return o.Controller && o.Kind == "ReplicaSet" && is && !strings.Contains(hash, "-")
}

// A workload is what matters of a Deployment, a StatefulSet or a DaemonSet.
type workload struct {
	Metadata struct{ Generation int64 }
	Spec     struct {
		Replicas *int64
		Paused   bool
		Selector selector
		Template struct {
			Metadata struct{ Annotations map[string]string }
		}
		UpdateStrategy struct {
			Type          string
			RollingUpdate struct{ Partition int64 }
		}
	}
	Status struct {
		ObservedGeneration                                              int64
		Replicas, UpdatedReplicas, AvailableReplicas                    int64
		DesiredNumberScheduled, UpdatedNumberScheduled, NumberAvailable int64

		Conditions []struct{ Type, Status, Reason string }
	}
}

// progress says how far the rollout is, as kubectl rollout status does.
func (o workload) progress(kind string) (complete bool, progress, stuck string) {
	want, total, updated, available := int64(1), o.Status.Replicas, o.Status.UpdatedReplicas, o.Status.AvailableReplicas
	if o.Spec.Replicas != nil {
		want = *o.Spec.Replicas
	}
	if kind == DaemonSet {
		want, updated, available = o.Status.DesiredNumberScheduled, o.Status.UpdatedNumberScheduled, o.Status.NumberAvailable
		total = want
	}
	complete = o.Status.ObservedGeneration >= o.Metadata.Generation && updated >= want && total <= updated && available >= updated
	progress = fmt.Sprintf("%d of %d pods are replaced, and %d are available", min(updated, want), want, available)
	switch {
	case o.Spec.Paused:
		stuck = "it is paused; resume it with kubectl rollout resume"
	case o.Spec.UpdateStrategy.Type == "OnDelete":
		stuck = "its updateStrategy is OnDelete, so nothing replaces its pods; set RollingUpdate, or leave it out and replace them by hand"
	case o.Spec.UpdateStrategy.RollingUpdate.Partition > 0:
		stuck = "its rollingUpdate.partition keeps some pods as they are; set it to 0"
	}
	for _, c := range o.Status.Conditions {
		if !complete && c.Type == "Progressing" && c.Status == "False" && o.Status.ObservedGeneration >= o.Metadata.Generation {
			stuck = "its rollout has failed (" + c.Reason + "); see kubectl describe, and fix the pods"
		}
	}
	return complete, progress, stuck
}

// A selector is a LabelSelector.
type selector struct {
	MatchLabels      map[string]string
	MatchExpressions []struct {
		Key, Operator string
		Values        []string
	}
}

// String returns the selector as the API takes it in a query
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api).
func (s selector) String() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		all = append(all, key+"="+s.MatchLabels[key])
	}
	for _, e := range s.MatchExpressions {
		switch e.Operator {
		case "In":
			all = append(all, e.Key+" in ("+strings.Join(e.Values, ",")+")")
		case "NotIn":
			all = append(all, e.Key+" notin ("+strings.Join(e.Values, ",")+")")
		case "Exists":
			all = append(all, e.Key)
		case "DoesNotExist":
			all = append(all, "!"+e.Key)
		}
	}
	return strings.Join(all, ",")
}
