package recipes

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/bitnami-labs/sealed-secrets/pkg/apis/sealedsecrets/v1alpha1"
	"github.com/bitnami-labs/sealed-secrets/pkg/kubeseal"
	"github.com/hashicorp/consul-template/config"
	"github.com/hashicorp/consul-template/manager"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/tokenagent/tokenagent/agent"
)

func token(name string) string { return name + "-0123456789abcdef" }

// A receiver is an agent that sees each change of its source.
type receiver struct {
	*agent.Agent
	path string
}

// newReceiver starts an agent with the content: a map of keys, or the text of a file.
func newReceiver(t *testing.T, content any) *receiver {
	t.Helper()
	r := &receiver{path: filepath.Join(t.TempDir(), "source")}
	r.write(t, content)
	var err error
	if r.Agent, err = agent.Start(t.Context(), agent.Config{TokenFile: r.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func (r *receiver) write(t *testing.T, content any) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	switch content := content.(type) {
	case string:
		must(os.WriteFile(r.path+".new", []byte(content), 0o600))
		must(os.Rename(r.path+".new", r.path))
	case map[string]string: // as the kubelet does
		must(os.MkdirAll(r.path, 0o700))
		version, err := os.MkdirTemp(r.path, "..version") //nolint:usetesting // it belongs into the mount
		must(err)
		for key, value := range content {
			must(os.WriteFile(filepath.Join(version, key), []byte(value), 0o600))
		}
		must(os.Symlink(filepath.Base(version), filepath.Join(r.path, "..new")))
		must(os.Rename(filepath.Join(r.path, "..new"), filepath.Join(r.path, "..data")))
		for key := range content {
			if err := os.Symlink(filepath.Join("..data", key), filepath.Join(r.path, key)); !errors.Is(err, os.ErrExist) {
				must(err)
			}
		}
	}
}

func (r *receiver) change(t *testing.T, content any) {
	t.Helper()
	r.write(t, content)
	if _, err := r.Reload(); err != nil {
		t.Fatalf("%v: %v", content, err)
	}
}

// accepts checks which tokens are accepted; those with a leading "-" must be refused.
func (r *receiver) accepts(t *testing.T, when string, tokens ...string) {
	t.Helper()
	for _, name := range tokens {
		name, refused := strings.CutPrefix(name, "-")
		if _, err := r.Verify(t.Context(), token(name)); (err != nil) != refused {
			t.Errorf("%s: token %s: %v, want refused: %t", when, name, err, refused)
		}
	}
}

// both checks a receiver that saw all changes, and one that starts with the content.
func both(t *testing.T, r *receiver, when string, content any, tokens ...string) {
	t.Helper()
	r.change(t, content)
	r.accepts(t, when, tokens...)
	newReceiver(t, content).accepts(t, when+", started now", tokens...)
}

// externalSecret reads the ExternalSecret of a recipe.
func externalSecret(t *testing.T, file string) (spec struct {
	Target struct {
		DeletionPolicy string
		Template       struct{ Data map[string]string }
	}
	Data []struct {
		SecretKey string
		RemoteRef struct{ Key, Version string }
	}
},
) {
	t.Helper()
	docs, err := documents(filepath.Join(repository, "deploy/recipes", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		var object struct {
			Kind string
			Spec json.RawMessage
		}
		if err := yaml.Unmarshal(doc, &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind == "ExternalSecret" {
			if err := json.Unmarshal(object.Spec, &spec); err != nil {
				t.Fatal(err)
			}
		}
	}
	return spec
}

// Each refresh of the ExternalSecret moves every token on by one slot. A token is accepted
// one refresh before senders use it and one refresh after.
//
// External Secrets renders with text/template and the option missingkey=error, over a map of
// strings; so does this test. It has more functions, and the recipe uses none of them.
func TestExternalSecretsGenerator(t *testing.T) {
	templates := externalSecret(t, "external-secrets/password.yaml").Target.Template.Data
	secret := map[string]string{"token": token("t0")}
	refresh := func(password string) {
		t.Helper()
		data := maps.Clone(secret) // dataFrom[0]
		data["password"] = token(password)
		for key, text := range templates { // creationPolicy Merge keeps the other keys
			var out bytes.Buffer
			if err := template.Must(template.New(key).Option("missingkey=error").Parse(text)).Execute(&out, data); err != nil {
				t.Fatal(err)
			}
			secret[key] = out.String()
		}
	}
	current := func(want string) {
		t.Helper()
		if secret["token"] != token(want) {
			t.Fatalf("senders use %s, want %s", secret["token"], want)
		}
	}
	r := newReceiver(t, maps.Clone(secret))
	refresh("t1")
	current("t0")
	both(t, r, "first refresh", maps.Clone(secret), "t0", "t1")
	refresh("t2")
	current("t1")
	both(t, r, "second refresh", maps.Clone(secret), "t0", "t1", "t2")
	refresh("t3")
	current("t2")
	both(t, r, "third refresh", maps.Clone(secret), "-t0", "t1", "t2", "t3")

	// rotate revoke --slot current puts the staged token in place of the revoked one. That
	// changes the Secret, so External Secrets refreshes it at once.
	cmd := exec.CommandContext(t.Context(), tokenagent(t), "rotate", "revoke", "--slot", "current")
	cmd.Stdin, cmd.Stderr = strings.NewReader(asJSON(t, secret)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	secret = fromJSON(t, out)
	current("t3")
	refresh("t4")
	current("t3")
	both(t, r, "revoked", maps.Clone(secret), "-t2", "t3", "t4")
}

// External Secrets reads the versions one after the other, in the order of data. If AWS moves
// its labels between any two reads, no receiver loses a token.
func TestAWSVersions(t *testing.T) {
	spec := externalSecret(t, "aws-secrets-manager/external-secret.yaml")
	if spec.Target.DeletionPolicy == "" || spec.Target.DeletionPolicy == "Retain" {
		t.Error("with this deletionPolicy a version that does not exist is an error")
	}
	// The labels: the first version, createSecret, finishSecret (with and without AWSPENDING).
	type labels map[string]string
	before := labels{"AWSCURRENT": "A", "AWSPREVIOUS": "Z"}
	pending := labels{"AWSCURRENT": "A", "AWSPREVIOUS": "Z", "AWSPENDING": "B"}
	done := labels{"AWSCURRENT": "B", "AWSPREVIOUS": "A"}
	doneToo := labels{"AWSCURRENT": "B", "AWSPREVIOUS": "A", "AWSPENDING": "B"}
	read := func(from, to labels, moved int) map[string]string {
		content := map[string]string{}
		for i, d := range spec.Data {
			at := from
			if i >= moved {
				at = to
			}
			if v, ok := at[d.RemoteRef.Version]; ok {
				content[d.SecretKey] = token(v)
			}
		}
		return content
	}
	all := len(spec.Data)
	if all != 3 {
		t.Fatalf("%d versions", all)
	}
	for _, after := range []labels{done, doneToo} {
		for moved := range all + 1 {
			when := fmt.Sprintf("moved after %d reads", moved)
			r := newReceiver(t, read(labels{"AWSCURRENT": "A"}, nil, all)) // no AWSPREVIOUS yet
			r.accepts(t, "first version", "A", "-B")
			both(t, r, "before", read(before, nil, all), "A", "-B")
			both(t, r, "createSecret, "+when, read(before, pending, moved), "A")
			both(t, r, "pending", read(pending, nil, all), "A", "B")
			both(t, r, "finishSecret, "+when, read(pending, after, moved), "A", "B")
			both(t, r, "done", read(after, nil, all), "A", "B", "-Z")
		}
	}
}

// A vault is the part of Vault's KV version 2 that a template reads.
type vault struct {
	sync.Mutex
	versions []map[string]string
}

func (v *vault) put(changes map[string]string) {
	v.Lock()
	defer v.Unlock()
	next := map[string]string{}
	if len(v.versions) > 0 {
		next = maps.Clone(v.versions[len(v.versions)-1])
	}
	maps.Copy(next, changes)
	v.versions = append(v.versions, next)
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.Lock()
	defer v.Unlock()
	switch r.URL.Path {
	case "/v1/sys/internal/ui/mounts/secret/data/shop/app-token":
		_, _ = fmt.Fprint(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	case "/v1/secret/data/shop/app-token":
		n := len(v.versions)
		if text := r.URL.Query().Get("version"); text != "" {
			n, _ = strconv.Atoi(text)
		}
		if n < 1 || n > len(v.versions) {
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": v.versions[n-1], "metadata": map[string]any{
			"version": n, "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false,
		}}})
	default:
		http.Error(w, `{"errors":[]}`, http.StatusNotFound)
	}
}

// The template renders with the engine of Vault Agent, consul-template.
func TestVaultAgent(t *testing.T) {
	v := &vault{}
	v.put(map[string]string{"token": token("A") + "\n"})
	server := httptest.NewServer(v)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "app-token")
	source := filepath.Join(repository, "deploy/recipes/vault-agent/app-token.ctmpl")
	p := func(s string) *string { return &s }
	yes, no, second, mode := true, false, 10*time.Millisecond, os.FileMode(0o440)
	c := config.DefaultConfig().Merge(&config.Config{
		Vault: &config.VaultConfig{
			Enabled: &yes, Address: p(server.URL), Token: p("root"), RenewToken: &no,
			DefaultLeaseDuration: &second, // what static_secret_render_interval sets
		},
		Templates: &config.TemplateConfigs{{Source: &source, Destination: &file, Perms: &mode, ErrMissingKey: &yes}},
	})
	c.Finalize()
	runner, err := manager.NewRunner(c, false)
	if err != nil {
		t.Fatal(err)
	}
	go runner.Start()
	defer runner.Stop()

	// rendered waits for a content with these lines.
	rendered := func(lines ...string) string {
		t.Helper()
		want := strings.Join(lines, "\n") + "\n"
		var got []byte
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			select {
			case err := <-runner.ErrCh:
				t.Fatal(err)
			case <-runner.TemplateRenderedCh():
			case <-time.After(50 * time.Millisecond):
			}
			if got, _ = os.ReadFile(file); string(got) == want {
				return want
			}
		}
		t.Fatalf("rendered %q, want %q", got, want)
		return ""
	}
	r := newReceiver(t, rendered(token("A")))
	v.put(map[string]string{"token-next": token("B")})
	both(t, r, "staged", rendered(token("A"), token("B")+" next", token("A")+" previous"), "A", "B")
	v.put(map[string]string{"token": token("B")})
	both(t, r, "promoted", rendered(token("B"), token("B")+" next", token("A")+" previous"), "A", "B")
	v.put(map[string]string{"token": token("B")})
	both(t, r, "retired", rendered(token("B"), token("B")+" next", token("B")+" previous"), "-A", "B")

	digests := strings.Repeat("a1", 32) + " " + strings.Repeat("b2", 32)
	v.put(map[string]string{"revoked": digests})
	text := rendered(token("B"), token("B")+" next", "revoked "+strings.Fields(digests)[0], "revoked "+strings.Fields(digests)[1], token("B")+" previous")
	both(t, r, "revoked", text, "B")
}

// The script's output is a SealedSecret that the controller opens to what rotate wrote.
func TestSealedSecrets(t *testing.T) {
	bin := t.TempDir()
	if err := os.Symlink(tokenagent(t), filepath.Join(bin, "tokenagent")); err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(bin, "secret.json")
	tool := func(name, script string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tool("kubectl", `[ "$*" = "-n shop get secret app-token -o json" ] && cat "`+stored+`"`)
	tool("kubeseal", "cat") // the library of kubeseal seals below
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(bin, "key.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(private, block, 0o600); err != nil {
		t.Fatal(err)
	}
	step := func(args ...string) (map[string]string, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(repository, "deploy/recipes/sealed-secrets/rotate.sh"), args...)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		var sealed, opened bytes.Buffer
		if err := kubeseal.Seal(clientcmd.NewDefaultClientConfig(*api.NewConfig(), nil), "yaml", bytes.NewReader(out), &sealed, scheme.Codecs, &key.PublicKey, v1alpha1.StrictScope, false, "", ""); err != nil {
			return nil, err
		}
		if err := check(sealed.Bytes()); err != nil {
			t.Errorf("the SealedSecret: %v", err)
		}
		if bytes.Contains(sealed.Bytes(), []byte(token("A"))) || bytes.Contains(sealed.Bytes(), []byte(base64.StdEncoding.EncodeToString([]byte(token("A"))))) {
			t.Error("the SealedSecret has the token")
		}
		if err := kubeseal.UnsealSealedSecret(&opened, &sealed, []string{private}, "json", scheme.Codecs); err != nil {
			return nil, err
		}
		if err := os.WriteFile(stored, opened.Bytes(), 0o600); err != nil { // what the controller writes
			return nil, err
		}
		return fromJSON(t, opened.Bytes()), nil
	}
	content := map[string]string{"token": token("A")}
	if err := os.WriteFile(stored, []byte(asJSON(t, content)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, content)
	next := func(args ...string) map[string]string {
		t.Helper()
		content, err := step(args...)
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		return content
	}
	accepted := func(when string, content map[string]string, tokens ...string) {
		t.Helper()
		for _, r := range []*receiver{r, newReceiver(t, content)} {
			r.change(t, content)
			for _, token := range tokens {
				if _, err := r.Verify(t.Context(), token); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
		}
	}
	content = next("stage")
	fresh := content["token-next"]
	accepted("staged", content, token("A"), fresh)
	content = next("promote", "--overlap", "24h")
	if content["token"] != fresh || content["token-previous"] != token("A") {
		t.Errorf("promoted: keys %v", slices.Sorted(maps.Keys(content)))
	}
	accepted("promoted", content, token("A"), fresh)
	both(t, r, "retired", next("retire"), "-A")
	if _, err := step("promote", "--overlap", "24h"); err == nil { // nothing is staged
		t.Log("promote again changes nothing")
	}
	if err := os.Remove(stored); err != nil {
		t.Fatal(err)
	}
	if _, err := step("stage"); err == nil {
		t.Error("kubectl failed, and the script succeeded")
	}
}

// tokenagent builds the program, once.
func tokenagent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenagent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/tokenagent")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func asJSON(t *testing.T, content map[string]string) string {
	t.Helper()
	s := corev1.Secret{Data: map[string][]byte{}}
	s.APIVersion, s.Kind, s.Namespace, s.Name, s.ResourceVersion = "v1", "Secret", "shop", "app-token", "7"
	for key, value := range content {
		s.Data[key] = []byte(value)
	}
	text, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fromJSON(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var s corev1.Secret
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for key, value := range s.Data {
		content[key] = string(value)
	}
	return content
}
