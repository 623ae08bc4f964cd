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
