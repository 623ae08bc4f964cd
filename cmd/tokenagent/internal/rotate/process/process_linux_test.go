package process

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = kubetest.Object

const one = "CANARY-77c1d2-one"

func fingerprint(token string) string {
	d := sha256.Sum256([]byte(token))
	return hex.EncodeToString(d[:])[:8]
}

// A cluster is an API server, with receivers that have each change at once, and deployments that
// replace their pods at once.
type cluster struct {
	t       *testing.T
	api     *kubetest.Server
	program string
	env     []string
	agents  int // the port of all agents
	// before is called before each request, one at a time. It returns whether it has answered.
	before func(http.ResponseWriter, *http.Request) bool

	mu        sync.Mutex
	namespace map[string]string // of the receiver at an address
	senders   map[string]string // the token that the pods of a namespace send
	tokens    map[string]bool   // every one that was ever current or staged
	child     *os.Process
	counting  sync.Mutex // requests are carried out one by one
}

// newCluster returns a cluster with the Secret token, the Service receivers and the deployment
// web in each namespace.
func newCluster(t *testing.T, namespaces []string, receivers int) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{
		t: t, api: &kubetest.Server{}, program: filepath.Join(dir, "tokenagent"),
		namespace: map[string]string{}, senders: map[string]string{}, tokens: map[string]bool{},
		before: func(http.ResponseWriter, *http.Request) bool { return false },
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", c.program, "./program").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.fill(namespaces, receivers)
	server := httptest.NewTLSServer(http.HandlerFunc(c.serve))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string][]byte{"ca.crt": ca, "token": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.env = append(os.Environ(), "TEST_ACCOUNT="+dir, "KUBERNETES_SERVICE_HOST="+u.Hostname(), "KUBERNETES_SERVICE_PORT="+u.Port())
	listener, err := net.Listen("tcp4", ":0") // every address in 127.0.0.0/8 is an agent
	if err != nil {
		t.Fatal(err)
	}
	agents := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(c.status)}}
	agents.Start()
	t.Cleanup(agents.Close)
	c.agents = listener.Addr().(*net.TCPAddr).Port
	return c
}

func secretPath(ns string) string { return "/api/v1/namespaces/" + ns + "/secrets/token" }

// fill puts the objects of the namespaces into the API server, as they are in the beginning.
func (c *cluster) fill(namespaces []string, receivers int) {
	c.api = &kubetest.Server{Changed: c.changed}
	clear(c.tokens)
	for i, ns := range namespaces {
		c.senders[ns] = one
		c.api.Put(secretPath(ns), object{
			"apiVersion": "v1", "kind": "Secret", "metadata": object{"labels": object{"group": "app"}},
			"data": object{"token": base64.StdEncoding.EncodeToString([]byte(one))},
		})
		c.api.Put("/apis/apps/v1/namespaces/"+ns+"/deployments/web", object{
			"spec":   object{"replicas": 1, "selector": object{"matchLabels": object{"app": "web"}}, "template": object{}},
			"status": object{"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
		})
		var addresses []any
		for j := range receivers {
			address := fmt.Sprintf("127.%d.%d.%d", i/250+1, i%250, j+1)
			c.namespace[address] = ns
			addresses = append(addresses, object{"addresses": []any{address}})
		}
		c.api.Put("/apis/discovery.k8s.io/v1/namespaces/"+ns+"/endpointslices/receivers", object{
			"metadata": object{"labels": object{"kubernetes.io/service-name": "receivers"}}, "endpoints": addresses,
		})
	}
}

// keys returns the keys of the Secret of a namespace.
func (c *cluster) keys(ns string) map[string]string {
	keys := map[string]string{}
	data, _ := c.api.Get(secretPath(ns))["data"].(object)
	for key, value := range data {
		text, _ := base64.StdEncoding.DecodeString(value.(string))
		keys[key] = string(text)
	}
	return keys
}

// serve is the API server.
func (c *cluster) serve(w http.ResponseWriter, req *http.Request) {
	c.counting.Lock()
	defer c.counting.Unlock()
	if !c.before(w, req) {
		c.api.ServeHTTP(w, req)
	}
}

// changed lets the controllers work, and checks that no sender is refused: each sends a token
// that the receivers of every namespace accept.
func (c *cluster) changed(path string, o object) {
	ns := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "/api/v1"), "/apis/apps/v1"), "/")[2]
	if strings.Contains(path, "/deployments/") {
		template := o["spec"].(object)["template"].(object)
		generation := o["metadata"].(object)["generation"]
		o["status"] = object{"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
		c.api.Put(path, o)
		metadata := template["metadata"].(object)
		c.api.Put("/api/v1/namespaces/"+ns+"/pods/web", object{
			"metadata": object{"labels": object{"app": "web"}, "annotations": metadata["annotations"], "ownerReferences": []any{object{"kind": "ReplicaSet", "name": "web-1", "controller": true}}},
			"status":   object{"phase": "Running"},
		})
		token := c.keys(ns)["token"]
		c.mu.Lock()
		c.senders[ns] = token
		c.mu.Unlock()
	}
	if !strings.Contains(path, "/secrets/") && !strings.Contains(path, "/deployments/") {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for to := range c.senders {
		keys := c.keys(to)
		c.tokens[keys["token"]] = true
		accepted := map[string]bool{keys["token"]: true}
		if next := keys["token-next"]; next != "" {
			c.tokens[next], accepted[next] = true, true
		}
		if until, err := time.Parse(time.RFC3339, keys["token-previous-until"]); err == nil && time.Now().Before(until) {
			accepted[keys["token-previous"]] = true
		}
		for from, token := range c.senders {
			if !accepted[token] {
				c.t.Errorf("%s is refused, which pods in %s send to %s", fingerprint(token), from, to)
			}
		}
		// What is current is what new pods send, also to other namespaces.
		for from := range c.senders {
			if token := c.keys(from)["token"]; !accepted[token] {
				c.t.Errorf("%s would be refused, which is current in %s, in %s", fingerprint(token), from, to)
			}
		}
	}
}

// status answers for the agent at the address that was asked.
func (c *cluster) status(w http.ResponseWriter, req *http.Request) {
	address, _, _ := net.SplitHostPort(req.Host)
	c.mu.Lock()
	ns := c.namespace[address]
	c.mu.Unlock()
	keys := c.keys(ns)
	s := agent.SourceStatus{Name: "app", LastChange: time.Now().Add(-time.Hour), Tokens: []agent.TokenStatus{{Slot: "current", Fingerprint: fingerprint(keys["token"])}}}
	if next := keys["token-next"]; next != "" {
		s.Tokens = append(s.Tokens, agent.TokenStatus{Slot: "next", Fingerprint: fingerprint(next)})
	}
	if old := keys["token-previous"]; old != "" {
		s.Tokens = append(s.Tokens, agent.TokenStatus{Slot: "previous", Fingerprint: fingerprint(old), Deadline: time.Now().Add(time.Hour)})
	}
	_ = json.NewEncoder(w).Encode(realm.Status{Status: agent.Status{Schema: agent.StatusSchema, Ready: true, Sources: []agent.SourceStatus{s}}})
}

// run runs the program until it ends, and returns whether it succeeded, and what it says.
func (c *cluster) run(args ...string) (ok bool, says string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.program, append([]string{"rotate", "run", "--selector=group=app", "--all-namespaces", "--agents=receivers:" + strconv.Itoa(c.agents), "--idle=1s"}, args...)...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &out
	// before and the caller share variables: requests see what the caller wrote, and the
	// caller sees what they wrote.
	c.counting.Lock()
	c.counting.Unlock() //nolint:staticcheck // an empty critical section orders them
	defer func() {
		c.counting.Lock()
		c.counting.Unlock() //nolint:staticcheck // as above
	}()
	c.mu.Lock()
	err := cmd.Start()
	c.child = cmd.Process
	c.mu.Unlock()
	if err != nil {
		c.t.Fatal(err)
	}
	err = cmd.Wait()
	if strings.Contains(out.String(), "CANARY") {
		c.t.Error("it shows a token")
	}
	return err == nil, out.String()
}

// isRotated checks that the rotation is over everywhere, and has made one token.
func (c *cluster) isRotated(namespaces []string) {
	c.t.Helper()
	is := c.keys(namespaces[0])["token"]
	for _, ns := range namespaces {
		if keys := c.keys(ns); keys["token"] != is || is == one || keys["token-next"]+keys["token-previous"] != "" || keys["token-retired"] == "" {
			c.t.Errorf("the rotation of %s is not over", ns)
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.tokens, one); len(c.tokens) != 1 {
		c.t.Errorf("%d new tokens were made", len(c.tokens))
	}
}

// The process gets a SIGKILL before or after each request that it sends. When it is started
// again, it finishes the rotation with one token, and no sender is refused meanwhile. The test
// cuts some of the requests, and all of them if TOKENAGENT_TEST_CUT is "all".
func TestProcessThatIsKilledAnywhereFinishes(t *testing.T) {
	namespaces := []string{"a", "b"}
	c := newCluster(t, namespaces, 2)
	every := 12
	if os.Getenv("TOKENAGENT_TEST_CUT") == "all" {
		every = 1
	}
	requests := 1
	for at := 1; at <= requests; at += every {
		for _, after := range []bool{false, true} {
			c.fill(namespaces, 2)
			seen, killed := 0, false
			c.before = func(_ http.ResponseWriter, req *http.Request) bool {
				seen++
				if seen != at {
					return false
				}
				if after {
					c.api.ServeHTTP(httptest.NewRecorder(), req)
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				killed = c.child.Kill() == nil
				return true
			}
			ok, says := c.run("--restart=deployment/web")
			if ok || !killed {
				t.Fatalf("at request %d: it was not killed, but says %s", at, says)
			}
			if ok, says = c.run("--restart=deployment/web"); !ok {
				t.Fatalf("killed at request %d: the next run says %s", at, says)
			}
			c.isRotated(namespaces)
			if t.Failed() {
				t.Fatalf("killed at request %d, after it: %v", at, after)
			}
			if at == 1 && !after { // the second run was a whole one
				requests = seen - 1
			}
		}
	}
	t.Logf("%d requests", requests)
}

// One rotation of 500 Secrets with 5,000 receivers takes at most 64 MB, and sends at most 3
// requests a Secret and step. It waits as long as an API server says that puts it off.
func TestProcessAtScale(t *testing.T) {
	if testing.Short() {
		t.Skip("it is slow")
	}
	const most = 64 << 10 // in KiB, as proc(5) has VmHWM
	var namespaces []string
	for i := range 500 {
		namespaces = append(namespaces, fmt.Sprintf("ns%03d", i))
	}
	c := newCluster(t, namespaces, 10)
	c.api.Changed = nil // the check of all with all takes long
	memory, writes := 0, 0
	putOff := map[string]time.Time{}
	var early []string
	c.before = func(w http.ResponseWriter, req *http.Request) bool {
		c.mu.Lock()
		pid := c.child.Pid
		c.mu.Unlock()
		if is := peak(t, pid); is > memory {
			memory = is
		}
		if at, is := putOff[req.URL.String()]; is && time.Since(at) < 900*time.Millisecond {
			early = append(early, req.URL.String())
		}
		delete(putOff, req.URL.String())
		if req.Method != http.MethodPut {
			return false
		}
		if writes++; writes%500 != 0 {
			return false
		}
		putOff[req.URL.String()] = time.Now()
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	if ok, says := c.run(); !ok {
		t.Fatal(says[max(len(says)-2000, 0):])
	}
	for _, ns := range namespaces {
		if keys := c.keys(ns); keys["token"] == one || keys["token-previous"] != "" {
			t.Fatalf("the rotation of %s is not over", ns)
		}
	}
	perSecret, reads := map[string]int{}, 0
	for _, r := range c.api.Requests() {
		method, uri, _ := strings.Cut(r, " ")
		if method == http.MethodGet {
			reads++
			continue
		}
		perSecret[strings.Split(uri, "/")[4]]++
	}
	for ns, n := range perSecret {
		if n > 3*3 { // stage, promote, retire
			t.Errorf("%s: %d requests", ns, n)
			break
		}
	}
	if reads > 500 || len(early) > 0 || len(putOff) > 0 || writes < 2000 {
		t.Errorf("%d reads, %d writes, %v too early, %d not again", reads, writes, early, len(putOff))
	}
	if memory > most || memory == 0 {
		t.Errorf("it takes %d KiB of memory, which is more than %d", memory, most)
	}
	t.Logf("%d KiB, %d reads, %d writes", memory, reads, writes)
}

// peak returns VmHWM of a process in KiB, or 0 if it has ended.
func peak(t *testing.T, pid int) int {
	t.Helper()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
	return n
}
