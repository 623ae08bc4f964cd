package agent_test

import (
	"testing"

	"github.com/tokenagent/tokenagent/agent"
)

// TestP4_NextAgentWhileTheKeyServerIsDown: an Agent that starts from a Snapshot uses the keys of
// the server before the server answers, if the Agent before had them from the same server.
func TestP4_NextAgentWhileTheKeyServerIsDown(t *testing.T) {
	iss := newIssuer(t)
	api := newCluster(t, iss)
	web := newSite(t)
	up := map[string]string{wellKnown: metadata(web.URL, web.URL+"/keys"), "/keys": `{"keys":[` + iss.jwk("one") + `]}`}
	for name, c := range map[string]struct {
		before, after agent.Issuer
		token, want   string
	}{
		"jwks url":    {serverKeys("x", issA, web.URL+"/keys"), serverKeys("x", issA, web.URL+"/keys"), iss.signFor(t, issA, "one"), "ok"},
		"renamed":     {serverKeys("x", issA, web.URL+"/keys"), serverKeys("y", issA, web.URL+"/keys"), iss.signFor(t, issA, "one"), "ok"},
		"discovery":   {found("x", web.URL), found("x", web.URL), iss.signFor(t, web.URL, "one"), "ok"},
		"kubernetes":  {clusterKeys("x"), clusterKeys("x"), iss.signFor(t, clusterIssuer, "one"), "ok"},
		"another URL": {serverKeys("x", issA, web.URL+"/keys"), serverKeys("x", issA, web.URL+"/other"), iss.signFor(t, issA, "one"), "unavailable"},
		"query":       {serverKeys("x", issA, web.URL+"/keys?tenant=a"), serverKeys("x", issA, web.URL+"/keys?tenant=b"), iss.signFor(t, issA, "one"), "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			web.pages.Store(&up)
			own := api.own
			old := start(t, withIssuers(c.before))
			wantClass(t, old, "before", c.token, "ok")
			web.pages.Store(&map[string]string{})
			api.set(func(c *cluster) { c.own = "refuses every request" })
			defer api.set(func(c *cluster) { c.own = own })
			from := old.Snapshot()
			cfg := withIssuers(c.after)
			cfg.From, cfg.WaitForSource = &from, true
			next := start(t, cfg)
			wantClass(t, next, "from a Snapshot", c.token, c.want)
			if err := next.Merge(old.Snapshot()); err != nil {
				t.Fatal(err)
			}
			wantClass(t, next, "after Merge", c.token, c.want)
			if next.Ready() != (c.want == "ok") {
				t.Errorf("Ready is %t", next.Ready())
			}
		})
	}
}
