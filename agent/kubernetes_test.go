package agent_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/podaccount"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A cluster is an API server that answers about keys, the issuer and tokens, and the service
// account of the pod that this process runs in.
type cluster struct {
	*httptest.Server

	mu      sync.Mutex
	keys    string // the JWKS
	issuer  string
	own     string // the token of the pod
	deleted bool   // whether the API server refuses all tokens
	status  int    // of TokenReviews; 0 means 201
	reviews int
}

const clusterIssuer = "https://kubernetes.default.svc.cluster.local"

// newCluster makes this process a pod of a cluster. The keys are those of iss.
func newCluster(t *testing.T, iss issuer) *cluster {
	t.Helper()
	c := &cluster{keys: `{"keys":[` + iss.jwk("one") + `]}`, issuer: clusterIssuer, own: canary + "own"}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	before := podaccount.Dir
	t.Cleanup(func() { podaccount.Dir = before })
	podaccount.Dir = t.TempDir()
	replace(t, filepath.Join(podaccount.Dir, "ca.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})))
	replace(t, filepath.Join(podaccount.Dir, "token"), c.own)
	host, port, _ := strings.Cut(strings.TrimPrefix(c.URL, "https://"), ":")
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+c.own {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=3600")
	switch r.URL.Path {
	case "/openid/v1/jwks":
		_, _ = fmt.Fprint(w, c.keys)
	case "/.well-known/openid-configuration":
		// The address of the keys is for clients outside of the cluster.
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://192.0.2.1:6443/openid/v1/jwks"}`, c.issuer)
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		c.reviews++
		var review struct {
			Spec struct{ Audiences []string }
		}
		if c.status != 0 || json.NewDecoder(r.Body).Decode(&review) != nil {
			w.WriteHeader(c.status)
			return
		}
		audiences, _ := json.Marshal(review.Spec.Audiences[:1])
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":%t,"audiences":%s}}`, !c.deleted, audiences)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// set changes the cluster.
func (c *cluster) set(change func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *cluster) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reviews
}

// podToken returns a token as the API server issues it to the pod cart-0.
func (i issuer) podToken(t *testing.T, iss, namespace, kid string) string {
	t.Helper()
	token := gojwt.NewWithClaims(gojwt.SigningMethodEdDSA, gojwt.MapClaims{
		"aud": []string{"orders"}, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "nbf": time.Now().Unix(), "iss": iss, "jti": "6e1d",
		"kubernetes.io": map[string]any{
			"namespace": namespace, "node": map[string]any{"name": "n", "uid": "1"},
			"pod": map[string]any{"name": "cart-0", "uid": "2"}, "serviceaccount": map[string]any{"name": "cart", "uid": "3"},
		},
		"sub": "system:serviceaccount:" + namespace + ":cart",
	})
	token.Header["kid"] = kid
	text, err := token.SignedString(i.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// inPod returns a Config that accepts the service account tokens of the cluster.
func inPod() agent.Config {
	return agent.Config{PollOnly: true, Issuers: []agent.Issuer{{Kubernetes: true, JWT: agent.JWT{Audiences: []string{"orders"}}}}}
}

func TestKubernetesTokens(t *testing.T) {
	one, stranger := newIssuer(t), newIssuer(t)
	newCluster(t, one)
	cfg := inPod()
	cfg.Issuers[0].JWT.RequiredClaims = map[string][]string{"/kubernetes.io/namespace": {"shop"}}
	var log testlog.Log
	cfg.Logger = log.Logger()
	a := start(t, cfg)
	p, err := a.Verify(t.Context(), one.podToken(t, clusterIssuer, "shop", "one"))
	if err != nil || p.Subject() != "system:serviceaccount:shop:cart" || p.Method() != verify.MethodJWT {
		t.Fatalf("%v, %v", p, err)
	}
	wantClass(t, a, "another namespace", one.podToken(t, clusterIssuer, "other", "one"), "invalid")
	wantClass(t, a, "another issuer", one.podToken(t, "https://other.example", "shop", "one"), "invalid")
	wantClass(t, a, "no issuer", one.podToken(t, "", "shop", "one"), "invalid")
	wantClass(t, a, "another cluster", stranger.podToken(t, clusterIssuer, "shop", "one"), "invalid")
	wantClass(t, a, "another audience", one.sign(t, "1", time.Hour), "invalid")
	if s := a.Status().Sources[0]; s.Kind != "kubernetes" || !strings.HasSuffix(s.Location, "/openid/v1/jwks") {
		t.Errorf("%+v", s)
	}
	if strings.Contains(log.String()+fmt.Sprintf("%+v %+v", a.Status(), a), canary) {
		t.Errorf("a token shows: %s", log.String())
	}
}

// TestKubernetesFollowsItsCluster: the kubelet replaces the pod's token, and the API server
// gets another key and another name. Tokens with the old name are good until they expire.
func TestKubernetesFollowsItsCluster(t *testing.T) {
	one, two := newIssuer(t), newIssuer(t)
	c := newCluster(t, one)
	a := start(t, inPod())
	old := one.podToken(t, clusterIssuer, "shop", "one")
	wantClass(t, a, "the first key", old, "ok")

	const renamed = "https://oidc.example/cluster"
	c.set(func(c *cluster) {
		c.own, c.issuer = canary+"rotated", renamed
		c.keys = `{"keys":[` + one.jwk("one") + `,` + two.jwk("two") + `]}`
	})
	if _, err := a.Reload(); err == nil {
		t.Error("the API server accepts the old token of the pod; the test would show nothing")
	}
	wantClass(t, a, "while the API server refuses the pod's token", old, "ok")
	replace(t, filepath.Join(podaccount.Dir, "token"), canary+"rotated")
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	wantClass(t, a, "the first key and name", old, "ok")
	wantClass(t, a, "another token with the first name", two.podToken(t, clusterIssuer, "shop", "two"), "ok")
	wantClass(t, a, "the second key and name", two.podToken(t, renamed, "shop", "two"), "ok")
	wantClass(t, a, "a name that the cluster never had", two.podToken(t, renamed+"/", "shop", "two"), "invalid")
}

// TestKubernetesLearnsANewNameFromATokenWithIt: a token of the cluster's own key with an
// unknown name makes the agent ask at once.
func TestKubernetesLearnsANewNameFromATokenWithIt(t *testing.T) {
	one := newIssuer(t)
	c := newCluster(t, one)
	a := start(t, inPod())
	const renamed = "https://oidc.example/cluster"
	c.set(func(c *cluster) { c.issuer = renamed })
	token := one.podToken(t, renamed, "shop", "one")
	eventually(t, a, "the new name is accepted", func() bool { return accepts(a, token) })
}

// TestKubernetesBesideOtherIssuers: the name of the cluster's issuer chooses its keys, and a
// name that is configured wins over it.
func TestKubernetesBesideOtherIssuers(t *testing.T) {
	one, other, explicit := newIssuer(t), newIssuer(t), newIssuer(t)
	c := newCluster(t, one)
	cfg := inPod()
	cfg.Issuers[0].Name = "cluster"
	cfg.Issuers = append(cfg.Issuers, keysAt("a", issA, file(t, other.public)))
	a := start(t, cfg)
	wantClass(t, a, "the cluster", one.podToken(t, clusterIssuer, "shop", "one"), "ok")
	wantClass(t, a, "the other issuer", other.signFor(t, issA, ""), "ok")
	wantClass(t, a, "the other issuer's key with the cluster's name", other.podToken(t, clusterIssuer, "shop", "one"), "invalid")
	wantClass(t, a, "the cluster's key with the other issuer's name", one.podToken(t, issA, "shop", "one"), "invalid")
	wantClass(t, a, "an unknown name", one.podToken(t, issB, "shop", "one"), "invalid")

	// An Issuer that is given wins over what the API server says.
	c.set(func(c *cluster) { c.keys = `{"keys":[` + explicit.jwk("one") + `]}` })
	cfg = inPod()
	cfg.Issuers[0].JWT.Issuer = issB
	a = start(t, cfg)
	wantClass(t, a, "the issuer that is given", explicit.podToken(t, issB, "shop", "one"), "ok")
	wantClass(t, a, "the issuer that the API server names", explicit.podToken(t, clusterIssuer, "shop", "one"), "invalid")
}

// TestTokenReview: the API server is asked about tokens that are good otherwise. Without its
// answer they are unavailable. Shared tokens and other issuers' tokens do not wait for it.
func TestTokenReview(t *testing.T) {
	one, other := newIssuer(t), newIssuer(t)
	c := newCluster(t, one)
	cfg := inPod()
	cfg.TokenFile = file(t, tokenN(1))
	cfg.Issuers[0].Name, cfg.Issuers[0].TokenReview = "cluster", true
	cfg.Issuers = append(cfg.Issuers, keysAt("a", issA, file(t, other.public)))
	var log testlog.Log
	cfg.Logger = log.Logger()
	a := start(t, cfg)

	good := one.podToken(t, clusterIssuer, "shop", "one")
	for range 3 {
		wantClass(t, a, "a good token", good, "ok")
	}
	if c.asked() != 1 {
		t.Errorf("%d requests for one token within 10 s", c.asked())
	}
	c.set(func(c *cluster) { c.deleted = true })
	wantClass(t, a, "a deleted pod", one.podToken(t, clusterIssuer, "deleted", "one"), "invalid")
	wantClass(t, a, "a bad signature", other.podToken(t, clusterIssuer, "shop", "one"), "invalid")
	wantClass(t, a, "another audience", one.sign(t, "1", time.Hour), "invalid")
	wantClass(t, a, "the other issuer", other.signFor(t, issA, ""), "ok")
	wantClass(t, a, "a shared token", tokenN(1), "ok")
	if c.asked() != 2 {
		t.Errorf("%d requests; only tokens that are good otherwise are worth one", c.asked())
	}

	c.set(func(c *cluster) { c.status = http.StatusForbidden })
	wantClass(t, a, "no answer", one.podToken(t, clusterIssuer, "unanswered", "one"), "unavailable")
	wantClass(t, a, "an answer that is remembered", good, "ok")
	status := fmt.Sprintf("%+v", a.Status())
	if !strings.Contains(status, "token reviews fail") || !strings.Contains(status, "system:auth-delegator") || !strings.Contains(log.String(), "system:auth-delegator") {
		t.Errorf("the error shows neither in the status nor in the log: %s\n%s", status, log.String())
	}
	for result, want := range map[string]string{"authenticated": "1", "refused": "1", "error": "1"} {
		if got := metric(t, a, `token_reviews_total{result="`+result+`",source="cluster"}`); got != want {
			t.Errorf("%s: %s, want %s", result, got, want)
		}
	}
	if strings.Contains(log.String()+status, canary) {
		t.Errorf("a token shows: %s %s", log.String(), status)
	}
}

func TestKubernetesConfigErrors(t *testing.T) {
	newCluster(t, newIssuer(t))
	if err := inPod().Validate(); err != nil {
		t.Fatal(err)
	}
	check := func(want string, change func(*agent.Config)) {
		t.Helper()
		cfg := inPod()
		change(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != "agent: "+want && !strings.HasPrefix(err.Error(), "agent: "+want+" ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("Issuer.JWT.Audiences is missing:", func(c *agent.Config) { c.Issuers[0].JWT.Audiences = nil })
	check("Issuer.Kubernetes is set beside Issuer.KeyFile or Issuer.JWKSURL;", func(c *agent.Config) { c.Issuers[0].KeyFile = "/f" })
	check("Issuer.Kubernetes is set beside Issuer.KeyFile or Issuer.JWKSURL;", func(c *agent.Config) { c.Issuers[0].JWKSURL = "https://a.example" })
	check("Issuer.Kubernetes takes the CA", func(c *agent.Config) { c.Issuers[0].JWKS.CAFile = "/f" })
	check("Issuer.Kubernetes takes the CA", func(c *agent.Config) { c.Issuers[0].JWKS.BearerFile = "/f" })
	check("Issuer.Kubernetes takes the CA", func(c *agent.Config) { c.Issuers[0].JWKS.Client = &http.Client{Transport: http.DefaultTransport} })
	check("Issuer.TokenReview needs Issuer.Kubernetes,", func(c *agent.Config) {
		c.Issuers[0] = agent.Issuer{KeyFile: "/f", TokenReview: true, JWT: agent.JWT{Issuer: "i", Audiences: []string{"a"}}}
	})
	check("issuer 2: Issuer.Kubernetes is also set for issuer 1, and", func(c *agent.Config) {
		c.Issuers = append(c.Issuers, c.Issuers[0])
		c.Issuers[0].Name, c.Issuers[1].Name = "a", "b"
	})
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	check("Issuer.Kubernetes: this is not a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set; run it in a pod", func(*agent.Config) {})
}
