package rotate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

type object = kubetest.Object

// A world is a cluster in a synctest bubble: an API server, kubelets that mount Secrets late,
// real agents that receive, and deployments whose pods read their token once, as daprd does,
// and send to every agent.
type world struct {
	t      *testing.T
	api    *kubetest.Server
	faults *faults
	ctx    context.Context
	all    sync.WaitGroup
	random *rand.Rand

	mu       sync.Mutex
	agents   map[string]*agent.Agent // by URL
	senders  map[string]string       // token by the path of its pod
	refused  []string
	tokens   map[string]bool // every one that was ever current or staged
	progress []auto.Progress
	rollOut  func(ns string) // replaces the pods
	podTime  time.Duration   // until a new pod is available
}

const pods = 2 // of each deployment, and agents of each namespace

func secretPath(ns string) string { return "/api/v1/namespaces/" + ns + "/secrets/token" }

func deploymentPath(ns string) string { return "/apis/apps/v1/namespaces/" + ns + "/deployments/web" }

// newWorld returns a world with the Secret token, the agents behind the Service receivers and
// the deployment web in each namespace. stop ends it.
func newWorld(t *testing.T, namespaces ...string) (w *world, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w = &world{
		t: t, api: &kubetest.Server{}, ctx: ctx, random: rand.New(rand.NewPCG(1, 2)),
		agents: map[string]*agent.Agent{}, senders: map[string]string{}, tokens: map[string]bool{}, podTime: 4 * time.Second,
	}
	w.faults = &faults{next: w.api}
	w.rollOut = w.replacePods
	w.api.Changed = w.changed
	for i, ns := range namespaces {
		w.api.Put(secretPath(ns), object{
			"apiVersion": "v1", "kind": "Secret", "metadata": object{"uid": "u" + ns, "labels": object{"group": "app"}},
			"data": object{"token": base64.StdEncoding.EncodeToString([]byte(one)), "mine": "eA=="},
		})
		w.api.Put(deploymentPath(ns), object{"spec": object{
			"replicas": pods, "selector": object{"matchLabels": object{"app": "web"}}, "template": object{},
		}, "status": object{"observedGeneration": 1, "replicas": pods, "updatedReplicas": pods, "availableReplicas": pods}})
		var addresses []any
		for j := range pods {
			address := fmt.Sprintf("10.0.%d.%d", i, j)
			addresses = append(addresses, object{"addresses": []any{address}})
			w.addAgent(ns, "http://"+address+":9464")
			w.addPod(ns, fmt.Sprintf("web-0-%d", j), "")
		}
		w.api.Put("/apis/discovery.k8s.io/v1/namespaces/"+ns+"/endpointslices/receivers", object{
			"metadata": object{"labels": object{"kubernetes.io/service-name": "receivers"}}, "endpoints": addresses,
		})
	}
	return w, func() {
		cancel()
		w.all.Wait()
		for _, a := range w.agents {
			_ = a.Close()
		}
	}
}

// keys returns the keys of the Secret of a namespace.
func (w *world) keys(ns string) map[string][]byte {
	keys := map[string][]byte{}
	data, _ := w.api.Get(secretPath(ns))["data"].(object)
	for key, value := range data {
		keys[key], _ = base64.StdEncoding.DecodeString(value.(string))
	}
	return keys
}

// addAgent starts an agent with the Secret mounted, and the kubelet that updates the mount.
func (w *world) addAgent(ns, url string) {
	dir := w.t.TempDir()
	keys := w.keys(ns)
	if err := kubemount.Write(dir, keys, 0o600); err != nil {
		w.t.Fatal(err)
	}
	a, err := agent.Start(w.ctx, agent.Config{TokenFile: dir, PollOnly: true, Poll: 1000 * time.Hour, Debounce: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.agents[url] = a
	delay := time.Duration(60+w.random.IntN(30)) * time.Second // of each resync
	first := time.Duration(w.random.IntN(int(delay)))
	w.all.Go(func() {
		for wait := first; w.sleep(wait); wait = delay {
			now := w.keys(ns)
			if maps.EqualFunc(keys, now, bytes.Equal) {
				continue
			}
			if keys = now; kubemount.Write(dir, keys, 0o600) == nil {
				_, _ = a.Reload()
			}
		}
	})
}

// sleep returns false when the world ends.
func (w *world) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// addPod starts a pod that sends the token of now to every agent until it is removed.
func (w *world) addPod(ns, name, rotation string) {
	path := "/api/v1/namespaces/" + ns + "/pods/" + name
	token := string(w.keys(ns)["token"])
	w.api.Put(path, object{"metadata": object{"labels": object{"app": "web"}, "annotations": object{auto.Annotation: rotation}, "ownerReferences": []any{object{"kind": "ReplicaSet", "name": "web-1", "controller": true}}}, "status": object{"phase": "Running"}})
	w.mu.Lock()
	w.senders[path] = token
	w.mu.Unlock()
	w.all.Go(func() {
		for w.sleep(time.Second) {
			w.mu.Lock()
			_, lives := w.senders[path]
			agents := maps.Clone(w.agents)
			w.mu.Unlock()
			if !lives {
				return
			}
			for url, a := range agents {
				if _, err := a.Verify(w.ctx, token); err != nil {
					w.mu.Lock()
					w.refused = append(w.refused, fmt.Sprintf("%s: %s sends %s to %s: %v", time.Now().Format(time.TimeOnly), path, fingerprint(token), url, err))
					w.mu.Unlock()
				}
			}
		}
	})
}

// changed notes new tokens, and lets the controller of a deployment that was changed work.
func (w *world) changed(path string, o object) {
	parts := strings.Split(path, "/")
	switch {
	case strings.Contains(path, "/secrets/"):
		keys := w.keys(parts[4])
		w.mu.Lock()
		w.tokens[string(keys["token"])] = true
		if next := keys["token-next"]; next != nil {
			w.tokens[string(next)] = true
		}
		w.mu.Unlock()
	case strings.Contains(path, "/deployments/"):
		w.all.Go(func() { w.rollOut(parts[5]) })
	}
}

// replacePods replaces the pods of the deployment one by one, each a while after its new one.
func (w *world) replacePods(ns string) {
	at := func() (o object, generation float64, id string) {
		o = w.api.Get(deploymentPath(ns))
		template, _ := o["spec"].(object)["template"].(object)["metadata"].(object)
		annotations, _ := template["annotations"].(object)
		id, _ = annotations[auto.Annotation].(string)
		return o, o["metadata"].(object)["generation"].(float64), id
	}
	_, mine, id := at()
	status := func(total, updated, available int) bool {
		o, generation, _ := at()
		if generation != mine {
			return false
		}
		o["status"] = object{"observedGeneration": mine, "replicas": total, "updatedReplicas": updated, "availableReplicas": available}
		w.api.Put(deploymentPath(ns), o)
		return true
	}
	if !w.sleep(time.Second) || !status(pods, 0, pods) {
		return
	}
	old := w.api.List("/namespaces/" + ns + "/pods/")
	for i := range pods {
		w.addPod(ns, fmt.Sprintf("web-%v-%d", mine, i), id)
		if !w.sleep(w.podTime) || !status(pods+1, i+1, pods) {
			return
		}
	}
	if !status(pods, pods, pods) {
		return
	}
	for _, path := range old { // they go on for a while, although status no longer counts them
		if !w.sleep(5 * time.Second) {
			return
		}
		w.mu.Lock()
		delete(w.senders, path)
		w.mu.Unlock()
		w.api.Delete(path)
	}
}

// ask answers for the agent at url.
func (w *world) ask(_ context.Context, url string) (statusclient.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.agents[url]
	if a == nil {
		return statusclient.Answer{}, errors.New("no answer")
	}
	return statusclient.Answer{Status: &realm.Status{Status: a.Status()}, At: time.Now()}, nil
}

// options returns those of a run in the world that asks the agents and restarts web.
func (w *world) options() auto.Options {
	client, err := kube.New("https://api.example", w.faults)
	if err != nil {
		w.t.Fatal(err)
	}
	o := auto.Options{
		Settings: auto.Settings{HasReceivers: true, HasSenders: true, StageWait: 2 * time.Minute, MinAge: time.Hour, Timeout: time.Hour},
		Secrets:  &auto.Secrets{Client: client, Selector: "group=app"}, Client: client,
		Services: []auto.Service{{Name: "receivers", Port: 9464}}, Senders: []auto.Sender{{Kind: kube.Deployment, Name: "web"}},
		Gate: gate.Gate{Ask: w.ask}, Idle: 2 * time.Minute,
		Progress: func(p auto.Progress) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.progress = append(w.progress, p)
		},
	}
	rotate.WholeSteps(&o, time.Hour)
	return o
}

// isRotated checks that the rotation is over in every namespace, and went well.
func (w *world) isRotated(namespaces ...string) {
	w.t.Helper()
	var is string
	for _, ns := range namespaces {
		keys := w.keys(ns)
		token := string(keys["token"])
		if token == one || is != "" && token != is {
			w.t.Errorf("%s has the token %s, others have %s", ns, fingerprint(token), fingerprint(is))
		}
		is = token
		if keys["token-next"] != nil || keys["token-previous"] != nil || !strings.Contains(string(keys["token-retired"]), id(one)) || string(keys["mine"]) != "x" {
			w.t.Errorf("%s has the keys %v", ns, keysOf(keys))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, token := range w.senders {
		if token != is {
			w.t.Errorf("%s still sends %s", path, fingerprint(token))
		}
	}
	delete(w.tokens, one)
	if len(w.tokens) != 1 {
		w.t.Errorf("%d new tokens were made", len(w.tokens))
	}
	if len(w.refused) > 0 {
		w.t.Errorf("%d refused, first: %s", len(w.refused), w.refused[0])
	}
}

func keysOf(keys map[string][]byte) (names []string) {
	for name := range keys {
		names = append(names, name)
	}
	return names
}

// faults is a proxy before the API server. It does something to the request number at. Of
// requests that are repeated while a run waits, only the first two count.
type faults struct {
	next http.RoundTripper
	at   int
	do   func(f *faults, req *http.Request) (*http.Response, error)

	mu   sync.Mutex
	seen int
	same map[string]int
	kill context.CancelFunc
	// shift is how far the API server's clock is ahead.
	shift time.Duration
}

// jump lets the API server's clock jump.
func (f *faults) jump(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shift += d
}

// pass passes req on, and lets the answer have the time of the API server's clock.
func (f *faults) pass(req *http.Request) (*http.Response, error) {
	res, err := f.next.RoundTrip(req)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.shift != 0 {
		res.Header.Set("Date", time.Now().Add(f.shift).UTC().Format(http.TimeFormat))
	}
	return res, err
}

func (f *faults) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	if f.same == nil {
		f.same = map[string]int{}
	}
	line := req.Method + " " + req.URL.String()
	f.same[line]++
	isIt := false
	if f.same[line] <= 2 || req.Method != http.MethodGet {
		f.seen++
		isIt = f.seen == f.at
	}
	f.mu.Unlock()
	if isIt && f.do != nil {
		return f.do(f, req)
	}
	return f.pass(req)
}

func answer(code int, header map[string]string, body string) *http.Response {
	h := http.Header{}
	for name, value := range header {
		h.Set(name, value)
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}
