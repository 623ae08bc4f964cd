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

// TestP4_NextAgentTakesTheNewerKeys: an Agent that has had no answer of its own takes the keys
// that the Agent before has got since the Snapshot. It does not use the older ones any longer,
// though the server was asked a moment ago.
func TestP4_NextAgentTakesTheNewerKeys(t *testing.T) {
	t.Parallel()
	gone, newer := newIssuer(t), newIssuer(t)
	web := newSite(t)
	serve := func(keys string) { web.pages.Store(&map[string]string{"/keys": keys}) }
	serve(`{"keys":[` + gone.jwk("gone") + `]}`)
	cfg := withIssuers(serverKeys("x", issA, web.URL+"/keys"))
	old := start(t, cfg)
	from := old.Snapshot()
	serve("")
	cfg.From, cfg.WaitForSource = &from, true
	next := start(t, cfg)
	wantClass(t, next, "the old key", gone.signFor(t, issA, "gone"), "ok")
	serve(`{"keys":[` + newer.jwk("newer") + `]}`)
	reloaded(t, old)
	serve("")
	if err := next.Merge(old.Snapshot()); err != nil {
		t.Fatal(err)
	}
	wantClass(t, next, "the key that the server has dropped", gone.signFor(t, issA, "gone"), "invalid")
	wantClass(t, next, "the new key", newer.signFor(t, issA, "newer"), "ok")
	if keys := next.Status().Sources[0].Tokens; len(keys) != 1 || keys[0].Slot != "listed" {
		t.Errorf("the keys are %+v, want the new one, listed", keys)
	}
}
