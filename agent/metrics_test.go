package agent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// scrape returns the metrics of a in the text format.
func scrape(t *testing.T, a *agent.Agent) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(a); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body.String())
	}
	return w.Body.String()
}

// metric returns the value of one series, and "" if there is no such series.
func metric(t *testing.T, a *agent.Agent, series string) string {
	t.Helper()
	for line := range strings.Lines(scrape(t, a)) {
		if value, ok := strings.CutPrefix(line, "tokenagent_"+series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetricsFollowARotation(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, Overlap: time.Hour})
	for _, token := range []string{tokenN(0), tokenN(0), "", tokenN(9)} {
		_, _ = a.Verify(t.Context(), token)
	}
	replace(t, path, tokenN(1)+"\n"+tokenN(2)+" next\n"+tokenN(3)+fmt.Sprintf("\nrevoked %x", verify.Digest(tokenN(4))))
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		_, _ = a.Verify(t.Context(), tokenN(n))
	}
	replace(t, path, "x")
	_, _ = a.Reload()
	for series, want := range map[string]string{
		`rotations_total{source="token"}`:                                                         "1",
		`generation{source="token"}`:                                                              "2",
		`last_reload_successful{source="token"}`:                                                  "0",
		`accepted_tokens{slot="current",source="token"}`:                                          "1",
		`accepted_tokens{slot="next",source="token"}`:                                             "1",
		`accepted_tokens{slot="listed",source="token"}`:                                           "1",
		`accepted_tokens{slot="previous",source="token"}`:                                         "1",
		`verifications_total{method="token",result="ok",slot="current",source="token"}`:           "3",
		`verifications_total{method="token",result="ok",slot="previous",source="token"}`:          "1",
		`verifications_total{method="token",result="ok",slot="next",source="token"}`:              "1",
		`verifications_total{method="token",result="ok",slot="listed",source="token"}`:            "1",
		`verifications_total{method="token",result="missing",slot="",source=""}`:                  "1",
		`verifications_total{method="token",result="invalid",slot="",source=""}`:                  "1",
		`verifications_total{method="token",result="revoked",slot="",source=""}`:                  "1",
		`verifications_total{method="token",result="expired",slot="",source=""}`:                  "0",
		`verifications_total{method="token",result="unavailable",slot="",source=""}`:              "0",
		`watch_mode{mode="poll",source="token"}`:                                                  "1",
		`watch_mode{mode="events",source="token"}`:                                                "0",
		`token_info{fingerprint="` + fingerprint(tokenN(0)) + `",slot="previous",source="token"}`: "1",
		`token_info{fingerprint="` + fingerprint(tokenN(1)) + `",slot="current",source="token"}`:  "1",
		`token_expires_timestamp_seconds{slot="current",source="token"}`:                          "",
	} {
		if got := metric(t, a, series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
	for _, series := range []string{
		`overlap_expires_timestamp_seconds{source="token"}`, `previous_last_used_timestamp_seconds{source="token"}`,
		`last_reload_success_timestamp_seconds{source="token"}`, `reload_duration_seconds_count{source="token"}`,
		`reloads_total{result="applied",source="token"}`, `reloads_total{result="rejected",source="token"}`,
	} {
		if got := metric(t, a, series); got == "" || got == "0" {
			t.Errorf("%s is %q", series, got)
		}
	}
	if err := a.Retire(); err != nil {
		t.Error(err)
	}
	_, _ = a.Verify(t.Context(), tokenN(0))
	if got := metric(t, a, `verifications_total{method="token",result="expired",slot="",source=""}`); got != "1" {
		t.Errorf("expired is %s, want 1", got)
	}
	if got := metric(t, a, `previous_last_used_timestamp_seconds{source="token"}`); got == "0" {
		t.Error("the last use of the old token was lost when it was retired")
	}
	_ = a.Close()
	if got := metric(t, a, `rotations_total{source="token"}`); got != "1" {
		t.Errorf("after Close, a counter went back to %s", got)
	}
}

func fingerprint(token string) string { return verify.Fingerprint(verify.Digest(token)) }

// TestMetricsAreWellFormed lints the metrics of a loaded and of an unloaded agent.
func TestMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*agent.Agent{
		"loaded":  start(t, agent.Config{TokenFile: file(t, tokenN(0)), Name: "payments"}),
		"waiting": start(t, agent.Config{TokenFile: t.TempDir() + "/none", WaitForSource: true, Name: "payments"}),
	} {
		r := prometheus.NewPedanticRegistry()
		if err := r.Register(a); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		problems, err := testutil.GatherAndLint(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

// TestTokenInfoIsBounded: 1,000 tokens make 16 series of token_info.
func TestTokenInfoIsBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for n := range 1000 {
		fmt.Fprintln(&text, tokenN(n))
	}
	a := start(t, agent.Config{TokenFile: file(t, text.String()), PollOnly: true})
	if n := testutil.CollectAndCount(a, "tokenagent_token_info"); n != 16 {
		t.Errorf("%d series, want 16", n)
	}
}

func TestExpiryOfTokensThatAreJWTs(t *testing.T) {
	t.Parallel()
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": exp.Unix(), "sub": canary}).SignedString([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	var log testlog.Log
	a := start(t, agent.Config{TokenFile: file(t, token), Logger: log.Logger()})
	if got := metric(t, a, `token_expires_timestamp_seconds{slot="current",source="token"}`); got == "" || got == "0" {
		t.Errorf("expiry is %q", got)
	}
	if got := a.Status().Sources[0].Tokens[0].Expires; !got.Equal(exp) {
		t.Errorf("status says %s, want %s", got, exp)
	}
	eventually(t, a, "a warning is logged", func() bool { return strings.Contains(log.String(), "exp has come or comes within a day") })
}

func TestWhoStillUsesTheOldToken(t *testing.T) {
	t.Parallel()
	var log testlog.Log
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, Logger: log.Logger()})
	rotate := func(n int) {
		replace(t, path, tokenN(n))
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	use := func(n int, remote string) {
		p, err := a.Verify(t.Context(), tokenN(n))
		if err != nil {
			t.Fatal(err)
		}
		a.RecordPreviousUse(p, remote)
	}
	use(0, "10.0.0.9:1") // current, so it is ignored
	rotate(1)
	for range 3 {
		use(0, "10.0.0.1:4711")
		use(0, "[fe80::1]:99")
		use(0, "@")
	}
	hosts := func() (hosts []string) {
		for _, u := range a.Status().Sources[0].PreviousUsers {
			if u.First.IsZero() || u.Last.Before(u.First.Add(-time.Second)) {
				t.Errorf("%s: first %s, last %s", u.Host, u.First, u.Last)
			}
			hosts = append(hosts, u.Host)
		}
		return hosts
	}
	if got, want := slices.Sorted(slices.Values(hosts())), []string{"10.0.0.1", "fe80::1", "local"}; !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v", got, want)
	}
	if n := strings.Count(log.String(), "superseded token still in use"); n != 3 {
		t.Errorf("logged %d times, want once a host", n)
	}
	for i := range 200 {
		use(0, fmt.Sprintf("10.1.%d.%d:1", i/100, i%100))
	}
	if n := len(hosts()); n != 100 {
		t.Errorf("%d hosts remembered, want 100", n)
	}
	// Users of the next superseded token replace those of a token that has ended.
	rotate(2)
	if err := a.Retire(); err != nil {
		t.Error(err)
	}
	rotate(3)
	eventually(t, a, "the users of the ended token are removed", func() bool {
		use(2, "10.0.0.1:4711")
		got := hosts()
		return len(got) == 1 && got[0] == "10.0.0.1"
	})
}

// TestP7_NothingShowsAToken gives an agent good, invalid and revoked content, and
// searches errors, log, status, metrics and formatted values for the canary.
func TestP7_NothingShowsAToken(t *testing.T) {
	t.Parallel()
	var log testlog.Log
	path := file(t, tokenN(0))
	a := start(t, agent.Config{TokenFile: path, PollOnly: true, Logger: log.Logger()})
	var output strings.Builder
	for n, text := range []string{
		tokenN(1), tokenN(2) + " next", tokenN(3) + " what", tokenN(4) + "\x01", tokenN(5) + " previous until=" + tokenN(6),
		"revoked " + tokenN(7), tokenN(8) + "\n" + tokenN(9) + " previous", canary[:10], "until=" + tokenN(1),
	} {
		replace(t, path, text)
		_, err := a.Reload()
		fmt.Fprintln(&output, err)
		p, err := a.Verify(t.Context(), tokenN(n))
		fmt.Fprintf(&output, "%v %+v %#v %v\n", p, p, p, err)
		if err == nil {
			a.RecordPreviousUse(p, "10.0.0.1:1")
		}
		status, _ := json.Marshal(a.Status())
		output.Write(status)
		output.WriteString(scrape(t, a))
		fmt.Fprintf(&output, "%v %+v %#v %s %+v\n", a, a, a, a, a.Status())
	}
	fmt.Fprintln(&output, a.Revoke(verify.Digest(tokenN(8))))
	output.WriteString(log.String())
	for _, form := range []string{canary[:8], fmt.Sprintf("%x", canary[:8]), fmt.Sprint([]byte(canary[:8]))} {
		if i := strings.Index(output.String(), form); i >= 0 {
			t.Fatalf("the output contains a token:\n%s", output.String()[max(0, i-300):i+100])
		}
	}
}
