package agent_test

import (
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// serverKeys returns an Issuer whose keys are at url.
func serverKeys(name, iss, url string) agent.Issuer {
	i := keysAt(name, iss, "")
	i.JWKSURL = url
	return i
}

// clusterKeys returns an Issuer for the tokens of the cluster.
func clusterKeys(name string) agent.Issuer {
	i := inPod().Issuers[0]
	i.Name = name
	return i
}

// TestP4_StateFileOfARemovedIssuer: when an issuer is no longer configured, the state file
// stays that of the other issuers, wherever the keys of the removed one were.
func TestP4_StateFileOfARemovedIssuer(t *testing.T) {
	gone, stays, next := newIssuer(t), newIssuer(t), newIssuer(t)
	newCluster(t, gone)
	web := newSite(t)
	web.pages.Store(&map[string]string{wellKnown: metadata(web.URL, web.URL+"/keys"), "/keys": `{"keys":[` + gone.jwk("k") + `]}`})
	for kind, removed := range map[string]agent.Issuer{
		"key file":   keysAt("gone", issB, file(t, gone.public)),
		"jwks url":   serverKeys("gone", issB, web.URL+"/keys"),
		"discovery":  found("gone", web.URL),
		"kubernetes": clusterKeys("gone"),
	} {
		path := file(t, stays.public)
		cfg := withIssuers(keysAt("stays", issA, path), removed)
		cfg.StateFile = stateFile(t)
		ag := start(t, cfg)
		if got := ag.Status().Sources[1].Kind; got != kind {
			t.Fatalf("kind %q, want %q", got, kind)
		}
		revoked := next.signFor(t, issA, "other")
		if err := ag.Revoke(verify.SigningInputDigest(revoked)); err != nil {
			t.Fatal(err)
		}
		if err := ag.Close(); err != nil {
			t.Fatal(err)
		}
		replace(t, path, next.public)
		cfg.Issuers = cfg.Issuers[:1]
		ag = start(t, cfg)
		if got := ag.Status().Sources[0].StateError; got != "" {
			t.Errorf("%s: %s", kind, got)
		}
		wantClass(t, ag, kind+": the superseded key", stays.signFor(t, issA, ""), "ok")
		wantClass(t, ag, kind+": the revoked token", revoked, "revoked")
	}
}

// TestP5_KeysStayWithTheirOwner: keys that a Snapshot or the state file has of one owner
// verify no tokens of another, also if neither has a name, or both have the same one.
func TestP5_KeysStayWithTheirOwner(t *testing.T) {
	one, next := newIssuer(t), newIssuer(t)
	svid, nextSVID := newAuthority(t), newAuthority(t)
	api := newCluster(t, one)
	nameless := keysAt("x", "", file(t, one.public))
	nameless.JWT.AllowMissingIssuer = true
	named := keysAt("x", issA, nameless.KeyFile)
	domain := trustDomainAt("x", domainA, file(t, svid.pem(t)))
	likeDomain := keysAt("x", "spiffe://"+domainA, domain.KeyFile)
	pod, likePod := clusterKeys("x"), clusterKeys("x")
	likePod.JWT.Issuer = issB
	const id = "spiffe://a.example/billing"
	for name, c := range map[string]struct {
		before, after agent.Issuer
		token, want   string
	}{
		"nameless, cluster":     {nameless, pod, one.signFor(t, clusterIssuer, ""), "invalid"},
		"cluster, nameless":     {pod, nameless, one.signFor(t, "", "one"), "invalid"},
		"nameless, named":       {nameless, named, one.signFor(t, issA, ""), "invalid"},
		"named, nameless":       {named, nameless, one.signFor(t, "", ""), "invalid"},
		"cluster, named":        {pod, likePod, one.signFor(t, issB, "one"), "invalid"},
		"like a domain, domain": {likeDomain, domain, svid.sign(t, id), "invalid"},
		"nameless":              {nameless, nameless, one.signFor(t, "", ""), "ok"},
		"named":                 {named, named, one.signFor(t, issA, ""), "ok"},
		"domain":                {domain, domain, svid.sign(t, id), "ok"},
	} {
		publish := func(kid string, key issuer, authority authority) {
			replace(t, nameless.KeyFile, key.public)
			replace(t, domain.KeyFile, authority.pem(t))
			api.set(func(c *cluster) { c.keys = `{"keys":[` + key.jwk(kid) + `]}` })
		}
		publish("one", one, svid)
		before, after := withIssuers(c.before), withIssuers(c.after)
		before.StateFile = stateFile(t)
		old := start(t, before)
		publish("next", next, nextSVID)
		wantClass(t, startFrom(t, old, after), name+", with a Snapshot", c.token, c.want)
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		after.StateFile = before.StateFile
		wantClass(t, start(t, after), name+", with the state file", c.token, c.want)
	}
}
