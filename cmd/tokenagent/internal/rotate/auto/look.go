package auto

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A Service names a Service whose pods are receivers.
type Service struct {
	Namespace string // "" means that of each target
	Name      string
	Port      int // of the agents' admin ports
}

// A Sender is a workload that is restarted, so that it sends the new token.
type Sender struct {
	Namespace  string // "" means that of each target
	Kind, Name string
}

// groups returns the targets that share a token: all, or each alone.
func (r *Runner) groups() [][]Target {
	if !r.Distinct {
		return [][]Target{r.targets}
	}
	groups := make([][]Target, len(r.targets))
	for i, t := range r.targets {
		groups[i] = []Target{t}
	}
	return groups
}

func (r *Runner) namespaces() (all []string) {
	for _, t := range r.targets {
		all = append(all, t.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ask asks the receivers of every group.
func (r *Runner) ask(ctx context.Context, check func([]Target) gate.Check) (*Answers, error) {
	urls, missing, err := r.receivers(ctx)
	if err != nil {
		return nil, err
	}
	a := &Answers{Asked: len(missing), Late: missing}
	for _, group := range r.groups() {
		g := r.Gate
		g.Agents = slices.Concat(slices.Collect(maps.Values(urls))...)
		if r.Distinct {
			g.Agents = urls[group[0].Namespace]
			if len(g.Agents) == 0 && len(missing) == 0 {
				a.Asked++
				a.Late = append(a.Late, "namespace "+group[0].Namespace+" has no receiver")
			}
		}
		slices.Sort(g.Agents)
		a.Asked += len(g.Agents)
		a.Late = append(a.Late, g.Late(ctx, check(group))...)
	}
	return a, ctx.Err()
}

// receivers returns the URLs of the receivers by namespace. It asks for the pods behind the
// Services anew, so that pods that come and go count. Missing names the Services without a
// pod: nothing tells a Service that has none from a wrong name.
func (r *Runner) receivers(ctx context.Context) (urls map[string][]string, missing []string, err error) {
	urls = map[string][]string{"": slices.Clone(r.Gate.Agents)}
	for _, s := range r.Services {
		of := []string{s.Namespace}
		if s.Namespace == "" {
			of = r.namespaces()
		}
		in := of
		if s.Namespace == "" && r.AllNamespaces {
			in = []string{""}
		}
		found := map[string][]string{}
		for _, ns := range in {
			some, err := r.Client.Endpoints(ctx, ns, s.Name)
			if err != nil {
				return nil, nil, err
			}
			maps.Copy(found, some)
		}
		for _, ns := range of {
			if len(found[ns]) == 0 {
				missing = append(missing, fmt.Sprintf("no pod is behind the Service %s/%s (see --agents)", ns, s.Name))
			}
			for _, address := range found[ns] {
				urls[ns] = append(urls[ns], "http://"+net.JoinHostPort(address, strconv.Itoa(s.Port)))
			}
		}
	}
	return urls, missing, nil
}

// loaded is passed by receivers that accept what is staged, or what was promoted already.
func loaded(group []Target) gate.Check {
	var all, concerned []string
	for _, t := range group {
		for _, known := range t.Declared() {
			concerned = append(concerned, known.Fingerprint())
		}
		v := t.Current
		if len(t.Next) == 1 {
			v = t.Next[0]
		}
		all = append(all, v.Fingerprint())
	}
	slices.Sort(all)
	return gate.Loaded(concerned, slices.Compact(all)...)
}

// unused is passed by receivers that saw no use of what was superseded.
func (r *Runner) unused(group []Target) gate.Check {
	var old []string
	for _, t := range group {
		for _, v := range t.In(rotation.Previous) {
			old = append(old, v.Fingerprint())
		}
	}
	return gate.Unused(group[0].Current.Fingerprint(), old, max(r.Idle, 0))
}

// workloads returns what is restarted.
func (r *Runner) workloads() (all []kube.Workload) {
	for _, s := range r.Senders {
		in := []string{s.Namespace}
		if s.Namespace == "" {
			in = r.namespaces()
		}
		for _, ns := range in {
			all = append(all, kube.Workload{Kind: s.Kind, Namespace: ns, Name: s.Name})
		}
	}
	return all
}

// rollouts looks how far the workloads are with the rotation. What was complete is not looked
// at again.
func (r *Runner) rollouts(ctx context.Context) error {
	all := r.workloads()
	out := make([]Rollout, len(all))
	read := make([]kube.Rollout, len(all))
	done := make([]bool, len(all))
	err := each(len(all), func(i int) error {
		w := all[i]
		if done[i] = r.complete[w]; done[i] {
			out[i] = Rollout{Name: w.String(), Started: true, Complete: true}
			return nil
		}
		is, err := r.Client.Rollout(ctx, w)
		if err != nil {
			return err
		}
		read[i] = is
		out[i] = Rollout{Name: w.String(), Progress: is.Progress, Stuck: is.Stuck, Started: r.isRestarted(is.Annotations)}
		if !out[i].Started || !is.Complete {
			return nil
		}
		old, err := r.Client.OldPods(ctx, w, is.Selector, r.isRestarted)
		out[i].Complete, out[i].Progress = len(old) == 0, "still there: "+content.ShortList(old)
		done[i] = err == nil && len(old) == 0
		return err
	})
	if err != nil {
		return err
	}
	for i, w := range all {
		r.complete[w] = done[i]
	}
	r.situation.Rollouts, r.read = out, read
	return nil
}

// maxIDs bounds how many rotations a workload says have restarted it. More do not restart
// one workload at the same time.
const maxIDs = 16

// isRestarted reports whether the annotations of a pod template, or of a pod, say that this
// rotation has restarted the workload. Other rotations may have done so before and after.
func (r *Runner) isRestarted(annotations map[string]string) bool {
	return slices.Contains(strings.Fields(annotations[Annotation]), r.situation.ID)
}

// restart restarts the workloads At. A conflict is often only a change of their status, so it
// tries again at once, a few times.
func (r *Runner) restart(ctx context.Context, at []int, dry bool) error {
	return each(len(at), func(i int) error {
		is, w := r.read[at[i]], r.workloads()[at[i]]
		for try := 1; ; try++ {
			ids := strings.Fields(is.Annotations[Annotation])
			ids = append(ids[max(len(ids)-maxIDs+1, 0):], r.situation.ID)
			err := r.Client.Annotate(ctx, is, map[string]string{
				Annotation:                          strings.Join(ids, " "),
				"kubectl.kubernetes.io/restartedAt": r.place.now().UTC().Format(time.RFC3339), // as kubectl rollout restart
			}, dry)
			if !kube.Is(err, kube.Conflict) || try == maxTries {
				return err
			}
			if err = sleep(ctx, 50*time.Millisecond<<try); err != nil {
				return err
			}
			if is, err = r.Client.Rollout(ctx, w); err != nil || !dry && r.isRestarted(is.Annotations) {
				return err
			}
		}
	})
}

// maxTries bounds how often a workload is read again because its status has changed. Then Run
// looks at everything again, with a longer pause.
const maxTries = 5

// checkSenders returns an error if a workload cannot be restarted.
func (r *Runner) checkSenders(ctx context.Context) error {
	if err := r.rollouts(ctx); err != nil {
		return err
	}
	var all []int
	var in []string
	for i, is := range r.situation.Rollouts {
		if is.Stuck != "" {
			return fmt.Errorf("%s: %s", is.Name, is.Stuck)
		}
		all, in = append(all, i), append(in, r.workloads()[i].Namespace)
	}
	slices.Sort(in)
	in = slices.Compact(in)
	err := r.restart(ctx, all, true)
	if err == nil {
		err = each(len(in), func(i int) error { return r.Client.MayListPods(ctx, in[i]) })
	}
	r.situation.Rollouts, r.complete = nil, map[kube.Workload]bool{}
	return err
}
