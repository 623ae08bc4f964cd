package realm

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestOpenFails checks that Open names every error, and leaves no goroutine.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                           "bad",
		"a 0 1m\nb none 1m\nc no 1m": "realm b: agent: ",
	} {
		s := newSite(t)
		s.write("0", tokenN(0))
		if text != "" {
			s.write("realms", text)
		}
		set, err := s.open(t.Context())
		if err == nil {
			_ = set.Close()
			t.Fatalf("%q opened", text)
		}
		if text == "" {
			want = "realms"
		}
		if !strings.Contains(err.Error(), want) || text != "" && !strings.Contains(err.Error(), "realm c: agent: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newSite(t)
	s.write("0", tokenN(0))
	s.write("realms", "a 0 1m")
	if _, err := s.open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestP4_BadFileChangesNothing checks a file that is malformed, that vanishes, or that has
// a realm that cannot start. Every realm stays as it is and goes on reading its source.
// Once the file is good again, the Set applies it.
func TestP4_BadFileChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	table := s.set.table.Load()
	rotations := 10
	for _, bad := range []string{"bad\n", "a 0 10m\nb 1 20m\nc none 10m\n", "a none 10m\nb 1 10m\n"} {
		s.write("realms", bad)
		s.becomes("the status shows the error", func() bool { return !s.set.Status().Config.Good })
		if got := s.set.Status().Config; got.Error == "" {
			t.Errorf("%q: %+v", bad, got)
		}
		if got := testutil.ToFloat64(oneMetric(s.set, "tokenagent_config_last_reload_successful")); got != 0 {
			t.Errorf("%q: the metric is %v", bad, got)
		}
		if s.set.table.Load() != table {
			t.Fatalf("%q is in force", bad)
		}
		for i, name := range []string{"a", "b"} {
			rotations++
			was, now := rotations, rotations+100
			s.write(strconv.Itoa(i), tokenN(was))
			s.becomes(name+" reads on", func() bool { return s.accepts(name, was) && s.accepts(name, i) })
			s.write(strconv.Itoa(i), tokenN(now))
			s.becomes(name+" reads on", func() bool { return s.accepts(name, was) && s.accepts(name, now) && s.accepts(name, i) })
		}
		// The source of c appears, or the file is corrected.
		if strings.Contains(bad, "c none") {
			s.write("none", tokenN(9))
			s.becomes("the file comes into force", func() bool { return s.set.Status().Config.Good && s.accepts("c", 9) })
			if err := os.Remove(filepath.Join(s.dir, "none")); err != nil {
				t.Fatal(err)
			}
			if !s.accepts("b", 1) || !s.accepts("a", 0) {
				t.Error("a superseded token was lost")
			}
		}
		s.write("realms", "a 0 10m\nb 1 10m\n")
		s.becomes("the corrected file comes into force", func() bool {
			now := s.set.table.Load()
			return s.set.Status().Config.Good && now.Named("c") == nil && now.Named("b").config.Overlap == 10*time.Minute
		})
		table = s.set.table.Load()
	}
	if err := os.Remove(filepath.Join(s.dir, "realms")); err != nil {
		t.Fatal(err)
	}
	s.becomes("the status shows the error", func() bool { return !s.set.Status().Config.Good })
	if s.set.table.Load() != table {
		t.Error("without a file the realms have changed")
	}
	if !s.accepts("a", 0) || !s.accepts("b", 1) {
		t.Error("a realm has lost its token with the file")
	}
}

// TestP2_ChangesLoseNoOverlap changes the file repeatedly while tokens rotate and requests
// arrive. No request is refused, and every superseded token stays accepted.
func TestP2_ChangesLoseNoOverlap(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	var current atomic.Int64
	var asked, refused atomic.Int64
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := int(current.Load())
				asked.Add(1)
				if !s.accepts("a", n) || !s.accepts("b", 1) {
					refused.Add(1)
				}
				runtime.Gosched()
			}
		})
	}
	const rounds = 30
	for i := 1; i <= rounds; i++ {
		s.write("realms", fmt.Sprintf("a 0 %dm\nb 1 10m host%d\nc%d 1 1m\n", 10+i, i, i))
		s.write("0", tokenN(100+i))
		s.becomes("the change and the rotation", func() bool {
			return s.accepts("a", 100+i) && s.set.table.Load().Named(fmt.Sprintf("c%d", i)) != nil
		})
		current.Store(int64(100 + i))
	}
	close(stop)
	asking.Wait()
	if refused.Load() > 0 || asked.Load() < rounds {
		t.Errorf("%d of %d were refused", refused.Load(), asked.Load())
	}
	for i := 1; i <= rounds; i++ {
		if !s.accepts("a", 100+i) {
			t.Errorf("token %d is lost", i)
		}
	}
}

// TestP3_HangingRealmDelaysNoOther checks that, while a realm of a changed file waits for a
// server, all other realms rotate and revoke, and that the new agents know of it later.
func TestP3_HangingRealmDelaysNoOther(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = w.Write([]byte(`{"keys":[]}`))
	}))
	t.Cleanup(server.Close)
	answers := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(answers)
	s := start(t, "a 0 1ns\nb 1 10m\nmoves 0 10m\n", 2)
	s.slow = server.URL
	s.write("realms", "a 0 1ms\nb 1 20m\nmoves 1 10m\nslow 1 10m\n")
	<-asked
	s.becomes("the other agents have started, and wait for it", func() bool {
		return strings.Count(s.log.String(), `msg="source loaded" source=moves`) == 2
	})
	revoke := func(n int) string {
		sum := verify.Digest(tokenN(n))
		return "\nrevoked " + hex.EncodeToString(sum[:])
	}
	s.write("1", tokenN(1)+revoke(13))
	s.becomes("the new agent of moves reads a revocation in its new file", func() bool {
		return strings.Contains(s.log.String(), `msg="source changed" source=moves`)
	})
	s.write("0", tokenN(10))
	s.becomes("a rotates", func() bool { return s.accepts("a", 10) && !s.accepts("a", 0) })
	s.write("0", tokenN(11)+"\n"+tokenN(13)+revoke(10))
	s.becomes("a revokes", func() bool { return s.accepts("a", 11) && !s.accepts("a", 10) })
	s.write("1", tokenN(12)+"\n"+tokenN(13)+"\n"+tokenN(10))
	s.becomes("moves still reads its old file", func() bool { return s.accepts("moves", 11) && s.accepts("moves", 13) })
	s.becomes("b rotates", func() bool { return s.accepts("b", 12) && s.accepts("b", 1) })
	answers()
	s.becomes("the file comes into force", func() bool { return s.set.table.Load().Named("slow") != nil })
	s.becomes("moves reads its new file", func() bool { return s.accepts("moves", 12) })
	for _, c := range []struct {
		realm  string
		token  int
		accept bool
		why    string
	}{
		{"a", 11, true, "a read it meanwhile"},
		{"a", 10, false, "a read its revocation meanwhile"},
		{"b", 12, true, "b read it meanwhile"},
		{"b", 1, true, "b still accepted it"},
		{"moves", 11, true, "the old agent read it before the move"},
		{"moves", 10, false, "the old agent read its revocation"},
		{"moves", 13, false, "the new agent read its revocation"},
	} {
		if s.accepts(c.realm, c.token) != c.accept {
			t.Errorf("realm %s accepts token %d: %t, although %s", c.realm, c.token, !c.accept, c.why)
		}
	}
}

// TestHangingReloadDelaysNoChange checks that the realms change while Reload waits for a
// source.
func TestHangingReloadDelaysNoChange(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if hang.Load() {
			asked <- struct{}{}
			<-answer
		}
		// The key of RFC 8037 appendix A.2. With one there is no second request soon.
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	}))
	t.Cleanup(server.Close)
	answers := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(answers)
	s := newSite(t)
	s.slow = server.URL
	s.start(t, "a 0 10m\nslow 1 10m\n", 2)
	hang.Store(true)
	done := make(chan struct{})
	go func() { _, _ = s.set.Reload(); close(done) }()
	<-asked
	s.write("realms", "b 0 10m\nslow 1 10m\n")
	s.becomes("the realms change", func() bool { return s.accepts("b", 0) })
	s.write("realms", "c 0 10m\nslow 1 10m\n")
	s.becomes("they change again", func() bool { return s.accepts("c", 0) })
	select {
	case <-done:
		t.Error("the changes waited for the reload")
	default:
	}
	answers()
	<-done
}

// TestOnlyThePresentContentIsRetried checks that content that could not come into force is
// not tried again once the file has become bad.
func TestOnlyThePresentContentIsRetried(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 1)
	s.write("realms", "a 0 10m\nb none 10m\n")
	s.becomes("it waits for b", func() bool { return *s.set.applyErr.Load() != "" })
	s.write("realms", "bad\n")
	s.becomes("it is bad", func() bool { return s.set.plan.Stats().LastError != nil })
	s.write("none", tokenN(9))
	before := s.set.plan.Stats().Rejected
	s.becomes("it was tried again", func() bool { return s.set.plan.Stats().Rejected > before+3 })
	if s.set.table.Load().Named("b") != nil {
		t.Error("former content of the file is in force")
	}
	s.write("realms", "a 0 10m\nb none 10m\n")
	s.becomes("it comes into force", func() bool { return s.accepts("b", 9) })
}

// TestUnchangedRealmsKeepTheirAgent, even if their hosts change. The agent of a removed
// realm is closed.
func TestUnchangedRealmsKeepTheirAgent(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m b.example\n", 2)
	a, b := s.agentOf("a"), s.agentOf("b")
	s.write("realms", "b 1 10m c.example\n")
	s.becomes("a goes", func() bool { return s.set.table.Load().Named("a") == nil })
	if s.agentOf("b") != b {
		t.Error("b has another agent, although only its hosts changed")
	}
	table := s.set.Table()
	for host, want := range map[string]string{"c.example": "b", "b.example": "-"} {
		if got := name(table.ByHost(host)); got != want {
			t.Errorf("%s belongs to %s, want %s", host, got, want)
		}
	}
	s.becomes("its agent is closed", func() bool {
		_, err := a.Verify(t.Context(), tokenN(0))
		return errors.Is(err, verify.ErrUnavailable)
	})
	if !strings.Contains(s.log.String(), "removed=[a]") {
		t.Error("nothing is logged")
	}
}

// TestP3_AwaitRevocationAsksTheNextAgent checks that a request whose agent was replaced
// learns of a revocation, even if the source got another name.
func TestP3_AwaitRevocationAsksTheNextAgent(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 1)
	r := s.set.Table().Named("a")
	p, err := r.Agent.Verify(t.Context(), tokenN(0))
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan bool, 1)
	go func() { result <- r.AwaitRevocation(t.Context(), p) }()
	for _, how := range []string{"20m", "30m=other"} {
		before := s.agentOf("a")
		s.write("realms", "a 0 "+how+"\n")
		s.becomes("the agent is replaced", func() bool {
			_, err := before.Verify(t.Context(), tokenN(0))
			return errors.Is(err, verify.ErrUnavailable)
		})
	}
	select {
	case <-result:
		t.Error("AwaitRevocation returned when its agent was closed")
	default:
	}
	sum := verify.Digest(tokenN(0))
	s.write("0", tokenN(1)+"\nrevoked "+hex.EncodeToString(sum[:]))
	select {
	case revoked := <-result:
		if !revoked {
			t.Error("AwaitRevocation returned false")
		}
	case <-time.After(20 * time.Second):
		t.Error("AwaitRevocation did not return within 20 s")
	}
}

// TestP3_AwaitRevocationOfRemovedRealm checks that the removal of a realm counts as a
// revocation, and that Close does not, even for a realm that was removed before it.
func TestP3_AwaitRevocationOfRemovedRealm(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	results := make(map[string]chan bool)
	realms := make(map[string]*Realm)
	principals := make(map[string]*verify.Principal)
	for i, name := range []string{"a", "b"} {
		r := s.set.Table().Named(name)
		p, err := r.Agent.Verify(t.Context(), tokenN(i))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan bool, 1)
		results[name], realms[name], principals[name] = result, r, p
		go func() { result <- r.AwaitRevocation(t.Context(), p) }()
	}
	s.write("realms", "b 1 10m\n")
	wait := func(name string, want bool) {
		t.Helper()
		select {
		case got := <-results[name]:
			if got != want {
				t.Errorf("%s: AwaitRevocation returned %t", name, got)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: AwaitRevocation did not return within 20 s", name)
		}
	}
	wait("a", true)
	if err := s.set.Close(); err != nil {
		t.Fatal(err)
	}
	wait("b", false)
	if realms["a"].AwaitRevocation(t.Context(), principals["a"]) {
		t.Error("a: AwaitRevocation returned true after Close")
	}
}

// TestP3_AwaitRevocationOfRemovedSource checks that the removal of the source or the issuer that
// accepted a request counts as a revocation, though the realm stays, and though another issuer
// has the name. Other changes of the realm do not count.
func TestP3_AwaitRevocationOfRemovedSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, stays, gone string
		principal           verify.PrincipalConfig
	}{
		"token source": {"a 0 10m", "a 0 20m", "a keys 10m", verify.PrincipalConfig{Method: verify.MethodToken, Source: "a"}},
		"issuer":       {"a keys 10m", "a keys 20m=other", "a keys2 10m=other", verify.PrincipalConfig{Method: verify.MethodJWT, Source: "a.keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			for _, file := range []string{"keys", "keys2"} {
				s.write(file, "a-secret-of-at-least-32-bytes-for-hmac")
			}
			s.start(t, c.before+"\n", 1)
			r := s.set.Table().Named("a")
			p := verify.NewPrincipal(c.principal)
			result := make(chan bool, 1)
			go func() { result <- r.AwaitRevocation(t.Context(), p) }()
			before := s.agentOf("a")
			s.write("realms", c.stays+"\n")
			s.becomes("the agent is replaced and closed", func() bool {
				_, err := before.Verify(t.Context(), tokenN(0))
				return errors.Is(err, verify.ErrUnavailable)
			})
			select {
			case <-result:
				t.Error("AwaitRevocation returned though the realm has the source")
			default:
			}
			s.write("realms", c.gone+"\n")
			select {
			case ended := <-result:
				if !ended {
					t.Error("AwaitRevocation returned false")
				}
			case <-time.After(20 * time.Second):
				t.Error("AwaitRevocation did not return within 20 s")
			}
			if stranger := verify.NewPrincipal(verify.PrincipalConfig{Subject: "stranger", Source: "elsewhere"}); s.set.Table().Named("a").AwaitRevocation(t.Context(), stranger) {
				t.Error("AwaitRevocation returned true for a request that the realm never accepted")
			}
		})
	}
}

// TestP3_RevocationDuringGraceHolds checks that the new agent learns what the replaced
// agent learned before it was closed.
func TestP3_RevocationDuringGraceHolds(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 1)
	before := s.agentOf("a")
	s.write("realms", "a 0 20m\n")
	s.becomes("the agent is replaced", func() bool { return s.agentOf("a") != before })
	if err := before.Revoke(verify.Digest(tokenN(0))); err != nil {
		t.Skipf("the old agent is closed already: %v", err)
	}
	s.becomes("the new agent learns of it", func() bool { return !s.accepts("a", 0) })
}

// TestGraceOfRequests checks that a removed agent decides for a while about requests that
// looked up their realm before.
func TestGraceOfRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	table := s.set.Table()
	a := table.Named("a").Agent
	s.write("realms", "b 1 10m\n")
	s.becomes("a goes", func() bool { return s.set.table.Load() != table })
	if _, err := a.Verify(t.Context(), tokenN(0)); err != nil {
		t.Errorf("a request that has its realm already: %v", err)
	}
	if s.accepts("a", 0) {
		t.Error("a new request gets into a removed realm")
	}
	s.becomes("its agent is closed", func() bool {
		_, err := a.Verify(t.Context(), tokenN(0))
		return err != nil
	})
}

// TestLateSourceDelaysOnlyItsRealm checks a realm with WaitForSource beside a ready one.
func TestLateSourceDelaysOnlyItsRealm(t *testing.T) {
	t.Parallel()
	s := start(t, "late 9 10mwait\na 0 10m\n", 1)
	if s.accepts("late", 9) || !s.accepts("a", 0) {
		t.Error("late accepts its token, or a does not")
	}
	st := s.set.Status()
	if !s.set.Ready() || !st.Ready {
		t.Errorf("not ready with one ready realm: %+v", st)
	}
	if st.Realms[0].Ready || !st.Realms[1].Ready {
		t.Errorf("late is ready, or a is not: %+v", st.Realms)
	}
	if len(st.Sources) != 2 {
		t.Errorf("%d sources", len(st.Sources))
	}
	updated := s.set.Updated()
	s.write("9", tokenN(9))
	<-updated
	s.becomes("it loads", func() bool { return s.accepts("late", 9) })
	only := start(t, "late 9 10mwait\n", 0)
	if only.set.Ready() {
		t.Error("ready without a ready realm")
	}
}

// TestReload checks that Reload reads the file and the sources.
func TestReload(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 2)
	s.write("realms", "a 0 10m\nb 1 10m\n")
	s.write("0", tokenN(5))
	if _, err := s.set.Reload(); err != nil || !s.accepts("b", 1) || !s.accepts("a", 5) {
		t.Errorf("%v", err)
	}
	s.write("realms", "a none 10m\n")
	if _, err := s.set.Reload(); err == nil || !strings.Contains(err.Error(), "realm a: ") {
		t.Errorf("a realm that cannot start: %v", err)
	}
	s.write("realms", "bad\n")
	s.write("0", "short")
	_, err := s.set.Reload()
	for _, want := range []string{"bad", "realm a: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a bad file and a bad source: %v, want %q", err, want)
		}
	}
	if !s.accepts("a", 5) {
		t.Error("a refuses the token that it accepted")
	}
}

// TestHundredRealms checks that a hundred realms use one inotify instance and one registry.
// It is not parallel, since other tests have inotify instances.
func TestHundredRealms(t *testing.T) { //nolint:paralleltest // counts the instances of the process
	before := testlog.Inotify(t)
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "r%d %d 10m r%d.example\n", i, i, i)
	}
	s := start(t, b.String(), 100)
	for i := range 100 {
		name := fmt.Sprintf("r%d", i)
		s.becomes("the agent gets events", func() bool { return s.agentOf(name).Status().Sources[0].WatchMode == "events" })
		if !s.accepts(name, i) || s.accepts(name, (i+1)%100) {
			t.Errorf("%s does not accept its own token, or another's", name)
		}
	}
	if got := testlog.Inotify(t) - before; got != 1 {
		t.Errorf("%d inotify instances", got)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s.set)
	if n, err := testutil.GatherAndCount(r, "tokenagent_generation"); err != nil || n != 100 {
		t.Errorf("%d sources, %v", n, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names := make(map[string]struct{})
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "realm" {
					names[l.GetValue()] = struct{}{}
				}
			}
		}
		ofSet := strings.HasPrefix(f.GetName(), "tokenagent_config_") || f.GetName() == "tokenagent_realms" || f.GetName() == "tokenagent_unknown_realm_total"
		if want := 100; !ofSet && len(names) != want || ofSet && len(names) != 0 {
			t.Errorf("%s of %d realms", f.GetName(), len(names))
		}
	}
}

// TestMissesAreCounted checks which realm a check of Envoy gets, and counts the checks that
// get none. A context extension names the realm for any host.
func TestMissesAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m a.example\nb 1 10m b.example\n", 2)
	const none = "no extension"
	for _, c := range []struct {
		name, host, want string
	}{
		{"a", "b.example", "a"},
		{"a", "", "a"},
		{none, "b.example:80", "b"},
		{"x", "b.example", "-"},
		{none, "x", "-"},
		{"", "b.example", "-"}, // the extension is empty
		{none, "", "-"},
		{none, "b.example:x", "-"},
		{"b", "b.example:x", "-"},
	} {
		rule := s.set.Rule(strings.TrimPrefix(c.name, none), c.name != none, c.host)
		table := s.set.table.Load()
		got := "-"
		for _, r := range table.realms {
			if r.Rule == rule {
				got = r.Name
			}
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := testutil.ToFloat64(oneMetric(s.set, "tokenagent_unknown_realm_total")); got != 6 {
		t.Errorf("%v misses", got)
	}
	if problems, err := testutil.CollectAndLint(s.set); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestSingle checks that every request belongs to the only realm.
func TestSingle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("0", tokenN(0))
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: filepath.Join(s.dir, "0"), Poll: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	set := Single(a, Spec{}, Options{})
	table := set.Table()
	for _, r := range []*Realm{table.ByHost("x"), table.ByHost("x:y"), table.ByPath("/verify/x", "y"), table.ByPath("", "")} {
		if r == nil || r.Agent != a {
			t.Error("a request that belongs to no realm")
		}
	}
	for _, name := range []string{"x", ""} {
		rule := set.Rule(name, true, "x:y")
		if rule == nil {
			t.Error("a check that belongs to no realm")
		}
	}
	s.becomes("the status is that of the agent", func() bool { // both change when the watch begins
		text, err := json.Marshal(set.Status())
		want, _ := json.Marshal(a.Status())
		return err == nil && string(text) == string(want)
	})
	if n := testutil.CollectAndCount(set, "tokenagent_realms", "tokenagent_config_last_reload_successful"); n != 0 {
		t.Errorf("%d metrics of realms", n)
	}
	if _, err := set.Reload(); err != nil {
		t.Error(err)
	}
	if !set.Ready() || set.Updated() == nil {
		t.Error("Ready or Updated does not ask the agent")
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

// oneMetric returns a Collector of the metric name of set, for testutil.ToFloat64.
func oneMetric(set *Set, name string) prometheus.Collector { return only{set, name} }

type only struct {
	*Set
	name string
}

func (o only) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		o.Set.Collect(all)
		close(all)
	}()
	for m := range all {
		if strings.Contains(m.Desc().String(), `"`+o.name+`"`) {
			ch <- m
		}
	}
}
