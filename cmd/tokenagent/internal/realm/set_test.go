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

// TestOpenFails, with nothing left running, and says all of it.
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
		t.Errorf("told to end: %v", err)
	}
}

// TestP4_BadFileChangesNothing: a file that is bad, goes, or names a realm that
// cannot start leaves every realm as it is and reading its source, those that
// could have changed, too; and heals by itself.
func TestP4_BadFileChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	table := s.set.table.Load()
	rotations := 10
	for _, bad := range []string{"bad\n", "a 0 10m\nb 1 20m\nc none 10m\n", "a none 10m\nb 1 10m\n"} {
		s.write("realms", bad)
		s.becomes("the error shows", func() bool { return !s.set.Status().Config.Good })
		if got := s.set.Status().Config; got.Error == "" || testutil.ToFloat64(oneMetric(s.set, "tokenagent_config_last_reload_successful")) != 0 {
			t.Errorf("%q: %+v", bad, got)
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
		// The realm that c waits for comes, or the file is put right.
		if strings.Contains(bad, "c none") {
			s.write("none", tokenN(9))
			s.becomes("it heals", func() bool { return s.set.Status().Config.Good && s.accepts("c", 9) })
			if err := os.Remove(filepath.Join(s.dir, "none")); err != nil {
				t.Fatal(err)
			}
			if !s.accepts("b", 1) || !s.accepts("a", 0) {
				t.Error("a superseded token was lost")
			}
		}
		s.write("realms", "a 0 10m\nb 1 10m\n")
		s.becomes("it heals", func() bool {
			now := s.set.table.Load()
			return s.set.Status().Config.Good && now.Named("c") == nil && now.Named("b").config.Overlap == 10*time.Minute
		})
		table = s.set.table.Load()
	}
	if err := os.Remove(filepath.Join(s.dir, "realms")); err != nil {
		t.Fatal(err)
	}
	s.becomes("the error shows", func() bool { return !s.set.Status().Config.Good })
	if !s.accepts("a", 0) || !s.accepts("b", 1) || s.set.table.Load() != table {
		t.Error("a realm is lost with the file")
	}
}

// TestP2_ChangesLoseNoOverlap changes the file over and over while tokens rotate
// and requests come: none is refused, and what was superseded stays accepted.
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

// TestP3_ARealmThatHangsHoldsUpNoOther: while a realm of the changed file waits for a
// server, those that it changes, too, read and revoke as ever; SIGHUP does not wait
// for it longer than the start may take; and it all ends.
func TestP3_ARealmThatHangsHoldsUpNoOther(t *testing.T) {
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
	s.becomes("the others have started, and wait for it", func() bool {
		return strings.Count(s.log.String(), `msg="source loaded" source=moves`) == 2
	})
	revoke := func(n int) string {
		sum := verify.Digest(tokenN(n))
		return "\nrevoked " + hex.EncodeToString(sum[:])
	}
	s.write("1", tokenN(1)+revoke(13))
	s.becomes("the agent that moves reads a revocation where it will be", func() bool {
		return strings.Contains(s.log.String(), `msg="source changed" source=moves`)
	})
	s.write("0", tokenN(10))
	s.becomes("a rotates", func() bool { return s.accepts("a", 10) && !s.accepts("a", 0) })
	s.write("0", tokenN(11)+"\n"+tokenN(13)+revoke(10))
	s.becomes("a revokes", func() bool { return s.accepts("a", 11) && !s.accepts("a", 10) })
	s.write("1", tokenN(12)+"\n"+tokenN(13)+"\n"+tokenN(10))
	s.becomes("what moves still reads where it was", func() bool { return s.accepts("moves", 11) && s.accepts("moves", 13) })
	s.becomes("b rotates", func() bool { return s.accepts("b", 12) && s.accepts("b", 1) })
	answers()
	s.becomes("the file comes into force", func() bool { return s.set.table.Load().Named("slow") != nil })
	s.becomes("the agent that moves reads where it is", func() bool { return s.accepts("moves", 12) })
	for _, c := range []struct {
		realm  string
		token  int
		accept bool
		why    string
	}{
		{"a", 11, true, "what a read meanwhile"},
		{"a", 10, false, "what a saw revoked meanwhile"},
		{"b", 12, true, "what b read meanwhile"},
		{"b", 1, true, "what b still accepted"},
		{"moves", 11, true, "what the old agent read before the move"},
		{"moves", 10, false, "what the old agent saw revoked"},
		{"moves", 13, false, "what the new agent saw revoked"},
	} {
		if s.accepts(c.realm, c.token) != c.accept {
			t.Errorf("%s, of %s: accepted %t", c.why, c.realm, !c.accept)
		}
	}
}

// TestReloadThatHangsHoldsUpNoChange: while a source hangs that SIGHUP has read, the
// realms change.
func TestReloadThatHangsHoldsUpNoChange(t *testing.T) {
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
	s.becomes("the realms change, and what has gone is closed", func() bool { return s.accepts("b", 0) })
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

// TestRetriedPlanIsWhatTheFileSays: a file that could not come into force, and is
// bad since, does not come into force any more.
func TestRetriedPlanIsWhatTheFileSays(t *testing.T) {
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
		t.Error("what the file no longer says is in force")
	}
	s.write("realms", "a 0 10m\nb none 10m\n")
	s.becomes("it comes into force", func() bool { return s.accepts("b", 9) })
}

// TestUnchangedRealmsKeepTheirAgent, also where their hosts change; and a realm
// that goes is refused, with its agent closed.
func TestUnchangedRealmsKeepTheirAgent(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m b.example\n", 2)
	a, b := s.agentOf("a"), s.agentOf("b")
	s.write("realms", "b 1 10m c.example\n")
	s.becomes("a goes", func() bool { return s.set.table.Load().Named("a") == nil })
	if s.agentOf("b") != b {
		t.Error("another agent, though only the hosts changed")
	}
	table := s.set.Table()
	if name(table.ByHost("c.example")) != "b" || name(table.ByHost("b.example")) != "-" || name(table.ByPath("/verify/a", "")) != "-" {
		t.Error("the hosts are the old ones")
	}
	s.becomes("its agent is closed", func() bool {
		_, err := a.Verify(t.Context(), tokenN(0))
		return errors.Is(err, verify.ErrUnavailable)
	})
	if !strings.Contains(s.log.String(), "removed=[a]") {
		t.Error("nothing is logged")
	}
}

// TestP3_WhoWaitsForARevocationAsksTheNextAgent: a stream that an agent let in which
// has been replaced ends when its token is revoked, also where the source has got
// another name.
func TestP3_WhoWaitsForARevocationAsksTheNextAgent(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 1)
	r := s.set.Table().Named("a")
	p, err := r.Agent.Verify(t.Context(), tokenN(0))
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan bool, 1)
	go func() { heard <- r.AwaitRevocation(t.Context(), p) }()
	for _, how := range []string{"20m", "30m=other"} {
		before := s.agentOf("a")
		s.write("realms", "a 0 "+how+"\n")
		s.becomes("the agent is replaced", func() bool {
			_, err := before.Verify(t.Context(), tokenN(0))
			return errors.Is(err, verify.ErrUnavailable)
		})
	}
	select {
	case <-heard:
		t.Error("the wait ended with its agent")
	default:
	}
	sum := verify.Digest(tokenN(0))
	s.write("0", tokenN(1)+"\nrevoked "+hex.EncodeToString(sum[:]))
	select {
	case revoked := <-heard:
		if !revoked {
			t.Error("the wait ended, and not by the revocation")
		}
	case <-time.After(20 * time.Second):
		t.Error("the revocation was not heard")
	}
}

// TestP3_WhoWaitsForARevocationHearsThatTheRealmIsGone: nothing that it accepted is
// good any more. The end of the whole is no revocation.
func TestP3_WhoWaitsForARevocationHearsThatTheRealmIsGone(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	heard := make(map[string]chan bool)
	for i, name := range []string{"a", "b"} {
		r := s.set.Table().Named(name)
		p, err := r.Agent.Verify(t.Context(), tokenN(i))
		if err != nil {
			t.Fatal(err)
		}
		h := make(chan bool, 1)
		heard[name] = h
		go func() { h <- r.AwaitRevocation(t.Context(), p) }()
	}
	s.write("realms", "b 1 10m\n")
	hear := func(name string, want bool) {
		t.Helper()
		select {
		case got := <-heard[name]:
			if got != want {
				t.Errorf("%s: %t", name, got)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: nothing was heard", name)
		}
	}
	hear("a", true)
	if err := s.set.Close(); err != nil {
		t.Fatal(err)
	}
	hear("b", false)
}

// TestP3_WhatIsRevokedInTheGraceHolds: what an agent that was replaced learns until it
// is closed, the one in its place learns then.
func TestP3_WhatIsRevokedInTheGraceHolds(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\n", 1)
	before := s.agentOf("a")
	s.write("realms", "a 0 20m\n")
	s.becomes("the agent is replaced", func() bool { return s.agentOf("a") != before })
	if err := before.Revoke(verify.Digest(tokenN(0))); err != nil {
		t.Skipf("the grace was over: %v", err)
	}
	s.becomes("the other learns of it", func() bool { return !s.accepts("a", 0) })
}

// TestGraceOfRequests: an agent that was replaced decides for a while about requests
// that had looked up their realm before.
func TestGraceOfRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "a 0 10m\nb 1 10m\n", 2)
	table := s.set.Table()
	a := table.Named("a").Agent
	s.write("realms", "b 1 10m\n")
	s.becomes("a goes", func() bool { return s.set.table.Load() != table })
	if _, err := a.Verify(t.Context(), tokenN(0)); err != nil {
		t.Errorf("who had entered: %v", err)
	}
	if s.accepts("a", 0) {
		t.Error("who enters now is let into what has gone")
	}
	s.becomes("its agent is closed", func() bool {
		_, err := a.Verify(t.Context(), tokenN(0))
		return err != nil
	})
}

// TestLateSourceHoldsUpItselfAlone, whose realm waits for it.
func TestLateSourceHoldsUpItselfAlone(t *testing.T) {
	t.Parallel()
	s := start(t, "late 9 10mwait\na 0 10m\n", 1)
	if !s.set.Ready() || s.accepts("late", 9) || !s.accepts("a", 0) {
		t.Error("one realm's source is late, and another suffers")
	}
	if st := s.set.Status(); !st.Ready || st.Realms[0].Ready || !st.Realms[1].Ready || len(st.Sources) != 2 {
		t.Errorf("%+v", st.Realms)
	}
	updated := s.set.Updated()
	s.write("9", tokenN(9))
	<-updated
	s.becomes("it loads", func() bool { return s.accepts("late", 9) })
	only := start(t, "late 9 10mwait\n", 0)
	if only.set.Ready() {
		t.Error("ready without any realm that is")
	}
}

// TestReload reads the file and the sources at once.
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
	if _, err := s.set.Reload(); err == nil || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "realm a: ") {
		t.Errorf("a bad file and a bad source: %v", err)
	}
	if !s.accepts("a", 5) {
		t.Error("what was accepted is lost")
	}
}

// TestHundredRealms take one inotify instance, and their metrics one registry. It
// is not parallel, since others have instances, too.
func TestHundredRealms(t *testing.T) { //nolint:paralleltest // counts what the process has
	before := testlog.Inotify(t)
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "r%d %d 10m r%d.example\n", i, i, i)
	}
	s := start(t, b.String(), 100)
	for i := range 100 {
		name := fmt.Sprintf("r%d", i)
		s.becomes("it watches", func() bool { return s.agentOf(name).Status().Sources[0].WatchMode == "events" })
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

// TestMissesAreCounted, of requests that Envoy asks about; an extension says which
// realm it is whatever the host.
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
		{"", "b.example", "-"}, // it is there, and names no realm
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

// TestSingle is one realm without a name, whose every request is.
func TestSingle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("0", tokenN(0))
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: filepath.Join(s.dir, "0"), Poll: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	set := Single(a, nil, Options{})
	table := set.Table()
	for _, r := range []*Realm{table.ByHost("x"), table.ByHost("x:y"), table.ByPath("/verify/x", "y"), table.ByPath("", "")} {
		if r == nil || r.Agent != a {
			t.Error("a request of no realm")
		}
	}
	for _, name := range []string{"x", ""} {
		rule := set.Rule(name, true, "x:y")
		if rule == nil {
			t.Error("a check of no realm")
		}
	}
	s.becomes("its status is the agent's", func() bool { // which the watch that begins may change in between
		text, err := json.Marshal(set.Status())
		want, _ := json.Marshal(a.Status())
		return err == nil && string(text) == string(want)
	})
	if n := testutil.CollectAndCount(set, "tokenagent_realms", "tokenagent_config_last_reload_successful"); n != 0 {
		t.Errorf("%d metrics of realms", n)
	}
	if _, err := set.Reload(); err != nil || !set.Ready() || set.Updated() == nil || set.Close() != nil {
		t.Error(err)
	}
}

// oneMetric returns what set says of name, as testutil.ToFloat64 reads it.
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
