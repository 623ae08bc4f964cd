package agent_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// use presents the token n and returns the Principal.
func use(t *testing.T, a *agent.Agent, n int) *verify.Principal {
	t.Helper()
	p, err := a.Verify(t.Context(), tokenN(n))
	if err != nil {
		t.Fatalf("token %d: %v", n, err)
	}
	return p
}

// ofClient returns the status of the client's token in the slot.
func ofClient(t *testing.T, a *agent.Agent, client, slot string) agent.TokenStatus {
	t.Helper()
	for _, s := range a.Status().Sources[0].Tokens {
		if s.Client == client && s.Slot == slot {
			return s
		}
	}
	t.Fatalf("client %q has no token in slot %s", client, slot)
	return agent.TokenStatus{}
}

func TestClientIsTheSubject(t *testing.T) {
	t.Parallel()
	a := start(t, agent.Config{TokenFile: file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci\n"+tokenN(2)+" next name=ci"), Name: "shop"})
	for n, want := range map[int][2]string{0: {"shop", ""}, 1: {"ci", "ci"}, 2: {"ci", "ci"}} {
		if p := use(t, a, n); p.Subject() != want[0] || p.Client() != want[1] || p.Source() != "shop" {
			t.Errorf("token %d: subject %q, client %q, source %q; want %q", n, p.Subject(), p.Client(), p.Source(), want)
		}
	}
}

// P2: a rotation of one client supersedes no token of another, and a use of one client's
// new token opens no overlap of another.
func TestP2_ClientsRotateAloneInAnAgent(t *testing.T) {
	t.Parallel()
	for _, dir := range []bool{false, true} {
		path := t.TempDir()
		if !dir {
			path = filepath.Join(path, "token")
		}
		write := func(tokens map[string]int) {
			var text strings.Builder
			keys := make(map[string][]byte)
			for client, n := range tokens {
				fmt.Fprintf(&text, "%s name=%s\n", tokenN(n), client)
				keys["token."+client] = []byte(tokenN(n))
			}
			if dir {
				if err := kubemount.Write(path, keys, 0o400); err != nil {
					t.Fatal(err)
				}
				return
			}
			replace(t, path, text.String())
		}
		write(map[string]int{"a": 1, "b": 2})
		a := start(t, agent.Config{TokenFile: path, PollOnly: true})
		write(map[string]int{"a": 3, "b": 2})
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		use(t, a, 2)
		if s := ofClient(t, a, "a", "previous"); !s.Waiting {
			t.Errorf("directory %t: a use of client b opened the overlap of client a", dir)
		}
		use(t, a, 3)
		if s := ofClient(t, a, "a", "previous"); s.Waiting || use(t, a, 1).Slot() != verify.SlotPrevious || use(t, a, 2).Slot() != verify.SlotCurrent {
			t.Errorf("directory %t: the overlap of client a is %+v", dir, s)
		}
		if got := a.Status().Sources[0].Rotations; got != 1 {
			t.Errorf("directory %t: %d rotations", dir, got)
		}
	}
}

func TestTokenOfClients(t *testing.T) {
	t.Parallel()
	revoked := func(n int) string { return fmt.Sprintf("\nrevoked %x", verify.Digest(tokenN(n))) }
	for text, want := range map[string]string{
		tokenN(1) + " name=ci\n" + tokenN(0):               tokenN(0),
		tokenN(1) + " name=ci":                             tokenN(1),
		tokenN(1) + " name=ci\n" + tokenN(2) + " name=web": "",
		// The token to send is revoked: that of another client is no substitute.
		tokenN(0) + "\n" + tokenN(1) + " name=ci" + revoked(0):              "",
		tokenN(1) + " name=ci\n" + tokenN(2) + " name=web" + revoked(2):     "",
		tokenN(1) + " name=ci\n" + tokenN(2) + " next name=ci" + revoked(1): "",
	} {
		got, err := start(t, agent.Config{TokenFile: file(t, text)}).Token()
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, verify.ErrUnavailable) {
			t.Errorf("%s: another token, or %v", strings.ReplaceAll(text, canary, "token"), err)
		}
	}
}

func TestMetricsOfClients(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci\n"+tokenN(2)+" name=web")
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	for _, n := range []int{0, 1, 1, 2} {
		use(t, a, n)
	}
	replace(t, path, tokenN(0)+"\n"+tokenN(3)+" name=ci")
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	use(t, a, 1)
	use(t, a, 3)
	for series, want := range map[string]string{
		`client_verifications_total{client="ci",slot="current",source="token"}`:           "3",
		`client_verifications_total{client="ci",slot="previous",source="token"}`:          "1",
		`client_verifications_total{client="web",slot="current",source="token"}`:          "1",
		`client_last_used_timestamp_seconds{client="web",slot="previous",source="token"}`: "0",
		`client_verifications_total{client="",slot="current",source="token"}`:             "",
		`verifications_total{method="token",result="ok",slot="current",source="token"}`:   "5",
		`verifications_total{method="token",result="ok",slot="previous",source="token"}`:  "1",
	} {
		if got := metric(t, a, series); got != want {
			t.Errorf("%s %q, want %q", series, got, want)
		}
	}
	if got := metric(t, a, `client_last_used_timestamp_seconds{client="ci",slot="current",source="token"}`); got == "" || got == "0" {
		t.Errorf("the last use of client ci is %q", got)
	}
	// What is gone is no series any more, but it still counts.
	if err := a.Retire(); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, a, `client_verifications_total{client="web",slot="current",source="token"}`); got != "" {
		t.Errorf("a client that is gone still has %q", got)
	}
	if got := metric(t, a, `verifications_total{method="token",result="ok",slot="current",source="token"}`); got != "5" {
		t.Errorf("the total is %q without a client that is gone, want 5", got)
	}
}

// At most 100 clients have series of their own. The others count as "other", which never
// decreases, not even if one of them is called that.
func TestMetricsOfManyClients(t *testing.T) {
	t.Parallel()
	content := func(n int) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "%s name=c%03d\n", tokenN(i), i)
		}
		return text.String() + tokenN(999) + " name=other"
	}
	path := file(t, content(150))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, Overlap: -1})
	for i := range 150 {
		use(t, a, i)
	}
	use(t, a, 999)
	const others = `client_verifications_total{client="other",slot="current",source="token"}`
	if got := metric(t, a, others); got != "51" {
		t.Errorf("others: %q, want 51", got)
	}
	replace(t, path, content(100))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, a, others); got != "51" {
		t.Errorf("others: %q after 50 clients went, want 51", got)
	}
	if n := strings.Count(scrape(t, a), "\ntokenagent_client_verifications_total{"); n != 101 {
		t.Errorf("%d series of clients, want 101", n)
	}
}

// One of the others that rotates while there is room stays one of the others.
func TestMetricsOfOtherClientsNeverDecrease(t *testing.T) {
	t.Parallel()
	var first, second strings.Builder
	for i := range 101 {
		fmt.Fprintf(&first, "%s name=c%03d\n", tokenN(i), i)
		if i > 0 {
			fmt.Fprintf(&second, "%s name=c%03d\n", tokenN(i+i/100*1000), i)
		}
	}
	path := file(t, first.String())
	a := start(t, agent.Config{TokenFile: path, PollOnly: true})
	use(t, a, 100)
	replace(t, path, second.String()) // without c000, and with a new token of c100
	for range 2 {
		if err := a.Retire(); err != nil {
			t.Fatal(err)
		}
		if got := metric(t, a, `client_verifications_total{client="other",slot="current",source="token"}`); got != "1" {
			t.Fatalf("others: %q, want 1", got)
		}
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// The last use of a client is seen at a poll, and outlives a restart with a state file.
func TestLastUseOfAClient(t *testing.T) {
	dir := t.TempDir()
	path, state := filepath.Join(dir, "token"), filepath.Join(dir, "state", "s")
	replace(t, path, tokenN(1)+" name=ci\n"+tokenN(2)+" name=web")
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{TokenFile: path, PollOnly: true, Poll: 10 * time.Second, StateFile: state}
		a := start(t, cfg)
		time.Sleep(time.Hour)
		use(t, a, 1)
		used := time.Now()
		time.Sleep(time.Hour)
		if s := ofClient(t, a, "ci", "current"); s.Uses != 1 || s.LastUsed.Sub(used).Abs() > 11*time.Second {
			t.Errorf("client ci: %d uses, the last %s; want one at %s", s.Uses, s.LastUsed, used)
		}
		if s := ofClient(t, a, "web", "current"); s.Uses != 0 || !s.LastUsed.IsZero() {
			t.Errorf("client web: %d uses, the last %s", s.Uses, s.LastUsed)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		a = start(t, cfg)
		if s := ofClient(t, a, "ci", "current"); used.Sub(s.LastUsed).Abs() > time.Hour {
			t.Errorf("after a restart the last use is %s, want %s to the hour", s.LastUsed, used)
		}
		from := a.Snapshot()
		next := start(t, agent.Config{TokenFile: path, PollOnly: true, StateFile: state, From: &from})
		if s := ofClient(t, next, "ci", "current"); s.LastUsed.IsZero() {
			t.Error("an agent that started from a Snapshot has no last use")
		}
		if err := errors.Join(next.Close(), a.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// P6 for named clients: a verification allocates nothing.
func TestP6_ClientsAllocateNothing(t *testing.T) {
	a := start(t, agent.Config{TokenFile: file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci\n"+tokenN(2)+" name=web")})
	ctx, token := t.Context(), tokenN(2)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := a.Verify(ctx, token); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTenThousandClients loads one source with 10,000 named clients.
func BenchmarkTenThousandClients(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "%s name=client-%d\n", tokenN(i), i)
	}
	path := file(b, text.String())
	b.ReportAllocs()
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		a := start(b, agent.Config{TokenFile: path})
		b.StopTimer()
		b.ReportMetric((heap()-before)/1e6, "MB")
		_ = a.Close()
		b.StartTimer()
	}
}

// P5: with AllowClients, no other client enters, whatever slot its token is in.
func TestP5_AllowClients(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci\n"+tokenN(2)+" next name=ci\n"+tokenN(3)+" name=web\n"+tokenN(4)+" next name=web\n"+tokenN(5)+" previous name=web")
	all := start(t, agent.Config{TokenFile: path, PollOnly: true})
	from := all.Snapshot()
	for name, a := range map[string]*agent.Agent{
		"at start":        start(t, agent.Config{TokenFile: path, PollOnly: true, AllowClients: []string{"ci", "other"}}),
		"from a Snapshot": start(t, agent.Config{TokenFile: path, PollOnly: true, AllowClients: []string{"ci", "other"}, From: &from}),
	} {
		for n, allowed := range []bool{false, true, true, false, false, false} {
			_, err := a.Verify(t.Context(), tokenN(n))
			if allowed && err != nil || !allowed && !errors.Is(err, verify.ErrInvalidToken) {
				t.Errorf("%s, token %d: %v; allowed %t", name, n, err, allowed)
			}
		}
		if s := a.Status().Sources[0]; len(s.Tokens) != 2 || s.Tokens[0].Client != "ci" || s.Tokens[1].Client != "ci" {
			t.Errorf("%s: the status lists %+v", name, s.Tokens)
		}
		if got := metric(t, a, `accepted_tokens{slot="current",source="token"}`); got != "1" {
			t.Errorf("%s: %s current tokens", name, got)
		}
	}
}

// P5: an Agent that starts from a Snapshot, and whose source is bad, accepts only the clients
// that it allows.
func TestP5_AllowClientsFromASnapshotWithABadSource(t *testing.T) {
	t.Parallel()
	line := fmt.Sprintf("\nrevoked %x", verify.Digest(tokenN(9)))
	path := file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci"+line)
	from := start(t, agent.Config{TokenFile: path, Poll: -1}).Snapshot()
	replace(t, path, "short"+line)
	a := start(t, agent.Config{TokenFile: path, From: &from, WaitForSource: true, AllowClients: []string{"ci"}})
	if accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) {
		t.Errorf("the token without a name is accepted: %t; that of ci: %t", accepts(a, tokenN(0)), accepts(a, tokenN(1)))
	}
}

func TestAllowClientsErrors(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(1)+" name=ci")
	for name, c := range map[string]struct {
		cfg  agent.Config
		want string
	}{
		"a bad name":      {agent.Config{TokenFile: path, AllowClients: []string{"ci", "-x"}}, "Config.AllowClients: a client"},
		"an empty name":   {agent.Config{TokenFile: path, AllowClients: []string{""}}, "Config.AllowClients: a client"},
		"no token source": {agent.Config{Issuers: []agent.Issuer{{KeyFile: path, JWT: agent.JWT{Issuer: "i", Audiences: []string{"a"}}}}, AllowClients: []string{"ci"}}, "AllowClients restricts shared tokens"},
	} {
		if _, err := agent.Start(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s", name, err, c.want)
		}
	}
}

// Who still uses the old token: the client and the host.
func TestPreviousUsersOfClients(t *testing.T) {
	t.Parallel()
	log := new(testlog.Log)
	path := file(t, tokenN(0)+"\n"+tokenN(1)+" name=ci\n"+tokenN(2)+" name=web")
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, Logger: log.Logger()})
	replace(t, path, tokenN(3)+"\n"+tokenN(4)+" name=ci\n"+tokenN(5)+" name=web")
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	for n, client := range []string{"", "ci", "web"} {
		p := use(t, a, n)
		a.RecordPreviousUse(p, "10.0.0.7:1")
		want := agent.PreviousUser{Client: client, Host: "10.0.0.7", Fingerprint: p.KeyID()}
		if !slices.ContainsFunc(a.Status().Sources[0].PreviousUsers, func(u agent.PreviousUser) bool {
			u.First, u.Last = time.Time{}, time.Time{}
			return u == want
		}) {
			t.Errorf("%+v is not in %+v", want, a.Status().Sources[0].PreviousUsers)
		}
	}
	if got := strings.Count(log.String(), "superseded token still in use"); got != 3 || strings.Count(log.String(), "client=") != 2 {
		t.Errorf("logged %d times:\n%s", got, log)
	}
}
