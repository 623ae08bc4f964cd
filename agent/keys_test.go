package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An issuer signs with an Ed25519 key of its own.
type issuer struct {
	private ed25519.PrivateKey
	public  string // PEM
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func (i issuer) sign(t *testing.T, jti string, lasts time.Duration) string {
	t.Helper()
	now := time.Now()
	text, err := gojwt.NewWithClaims(gojwt.SigningMethodEdDSA, gojwt.MapClaims{
		"iss": "https://issuer.example", "aud": "orders", "sub": canary + "alice", "jti": jti,
		"iat": now.Unix(), "exp": now.Add(lasts).Unix(),
	}).SignedString(i.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signedBy returns a Config that accepts what the key at path signed.
func signedBy(path string) agent.Config {
	return agent.Config{
		KeyFile: path, PollOnly: true, Overlap: 10 * time.Minute,
		JWT: agent.JWT{Issuer: "https://issuer.example", Audiences: []string{"orders"}},
	}
}

// TestKeysAloneAreCounted, where there are no shared tokens.
func TestKeysAloneAreCounted(t *testing.T) {
	t.Parallel()
	one, two := newIssuer(t), newIssuer(t)
	a := start(t, signedBy(file(t, one.public)))
	for token, want := range map[string]string{one.sign(t, "1", time.Hour): "ok", two.sign(t, "1", time.Hour): "invalid", "": "missing"} {
		if got := class(a, token); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, name := range []string{
		`verifications_total{method="jwt",result="ok",slot="current",source="keys"}`,
		`verifications_total{method="jwt",result="invalid",slot="",source=""}`,
		`verifications_total{method="jwt",result="missing",slot="",source=""}`,
	} {
		if got := metric(t, a, name); got != "1" {
			t.Errorf("%s %s, want 1", name, got)
		}
	}
}

// TestP2_KeysRotateAsTokensDo: the superseded key stays accepted until its
// deadline, through a restart, too, and for tokens that are cached.
func TestP2_KeysRotateAsTokensDo(t *testing.T) {
	t.Parallel()
	one, two := newIssuer(t), newIssuer(t)
	path, state := file(t, one.public), stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := signedBy(path)
		cfg.StateFile, cfg.MaxOverlap = state, -1
		a := start(t, cfg)
		token := one.sign(t, "1", time.Hour)
		p, err := a.Verify(t.Context(), token)
		if err != nil || p.Slot() != rotation.Current || p.Method() != verify.MethodJWT || p.Source() != "keys" || p.Subject() != canary+"alice" {
			t.Fatalf("%v, %v", p, err)
		}
		replace(t, path, two.public)
		if changed, err := a.Reload(); err != nil || !changed {
			t.Fatalf("%t, %v", changed, err)
		}
		deadline := a.Status().Sources[0].OverlapExpires
		if want := time.Now().Add(10 * time.Minute); deadline.Sub(want).Abs() > time.Second {
			t.Fatalf("the overlap ends at %s, want about %s", deadline, want)
		}
		for restarts := range 2 {
			time.Sleep(time.Minute)
			if p, err := a.Verify(t.Context(), token); err != nil || p.Slot() != rotation.Previous {
				t.Fatalf("after %d restarts: %v, %v", restarts, p, err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			a = start(t, cfg)
		}
		src := a.Status().Sources[0]
		if !src.OverlapExpires.Equal(deadline) || src.StateError != "" || len(src.Tokens) != 2 || src.Tokens[0].Algorithm != "EdDSA" {
			t.Fatalf("%+v", src)
		}
		time.Sleep(time.Until(deadline) - 1)
		if err := verdict(a, token); err != nil {
			t.Errorf("1 ns before the deadline: %v", err)
		}
		time.Sleep(1)
		if err := verdict(a, token); err == nil {
			t.Error("accepted at the deadline of its key")
		}
		if err := verdict(a, two.sign(t, "2", time.Hour)); err != nil {
			t.Errorf("the new key: %v", err)
		}
	})
}

func verdict(a *agent.Agent, token string) error {
	_, err := a.Verify(context.Background(), token)
	return err
}

// TestBothAtOnce: a shared token and signed ones, each counted by its method.
func TestBothAtOnce(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	cfg := signedBy(file(t, one.public))
	cfg.TokenFile = file(t, tokenN(0)+"\n"+tokenN(1)+" previous until=2020-01-01T00:00:00Z")
	a := start(t, cfg)
	signed, forged := one.sign(t, "1", time.Hour), newIssuer(t).sign(t, "2", time.Hour)
	for _, c := range []struct {
		token  string
		want   error
		method string
	}{
		{tokenN(0), nil, verify.MethodToken},
		{signed, nil, verify.MethodJWT},
		{signed, nil, verify.MethodJWT},
		{tokenN(1), verify.ErrExpiredToken, ""},
		{forged, verify.ErrInvalidToken, ""},
		{one.sign(t, "3", -time.Hour), verify.ErrExpiredToken, ""},
		{"", verify.ErrNoToken, ""},
		{"what-nobody-knows-at-all", verify.ErrInvalidToken, ""},
	} {
		p, err := a.Verify(t.Context(), c.token)
		if !errors.Is(err, c.want) || p.Method() != c.method {
			t.Errorf("%v, %v; want %v", p.Method(), err, c.want)
		}
	}
	text := scrape(t, a)
	for _, want := range []string{
		`tokenagent_verifications_total{method="token",result="ok",slot="current",source="token"} 1`,
		`tokenagent_verifications_total{method="jwt",result="ok",slot="current",source="keys"} 2`,
		`tokenagent_verifications_total{method="token",result="expired",slot="",source=""} 1`,
		`tokenagent_verifications_total{method="jwt",result="expired",slot="",source=""} 1`,
		`tokenagent_verifications_total{method="jwt",result="invalid",slot="",source=""} 1`,
		`tokenagent_verifications_total{method="token",result="invalid",slot="",source=""} 1`,
		`tokenagent_verifications_total{method="token",result="missing",slot="",source=""} 1`,
		`tokenagent_accepted_tokens{slot="current",source="keys"} 1`,
		`tokenagent_signature_checks_refused_total{source="keys"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, canary) {
		t.Error("a claim shows in the metrics")
	}
	if n := len(a.Status().Sources); n != 2 {
		t.Errorf("%d sources in the status", n)
	}
}

// TestP3_RefusedAsATokenThoughSigned: what the token source shuts out the keys do not
// let in, and it is counted as a token.
func TestP3_RefusedAsATokenThoughSigned(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	signed := i.sign(t, "1", time.Hour)
	for name, c := range map[string]struct {
		line string
		hand func(a *agent.Agent) error
		want string
	}{
		"revoked by the source":  {fmt.Sprintf("revoked %x", verify.Digest(signed)), nil, "revoked"},
		"revoked by hand":        {signed, func(a *agent.Agent) error { return a.Revoke(verify.Digest(signed)) }, "revoked"},
		"revoked and not listed": {"", func(a *agent.Agent) error { return a.Revoke(verify.Digest(signed)) }, "revoked"},
		"retired by the source":  {fmt.Sprintf("retired %x", verify.Digest(signed)), nil, "expired"},
		"past its deadline":      {signed + " previous until=2020-01-01T00:00:00Z", nil, "expired"},
		"neither":                {"", nil, "ok"},
	} {
		cfg := signedBy(file(t, i.public))
		cfg.TokenFile = file(t, tokenN(0)+"\n"+c.line+"\n")
		a := start(t, cfg)
		if c.hand != nil {
			if err := c.hand(a); err != nil {
				t.Fatal(err)
			}
		}
		if got := class(a, signed); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if c.want == "ok" {
			continue
		}
		if got := metric(t, a, `verifications_total{method="token",result="`+c.want+`",slot="",source=""}`); got != "1" {
			t.Errorf("%s: counted %s times as a token", name, got)
		}
	}
}

// TestP3_RevokedAsATokenBeforeTheSourceIsLoaded: the keys do not let in what was
// revoked by hand as a shared token, even if no token was read yet.
func TestP3_RevokedAsATokenBeforeTheSourceIsLoaded(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	signed := i.sign(t, "1", time.Hour)
	cfg := signedBy(file(t, i.public))
	cfg.TokenFile, cfg.WaitForSource = filepath.Join(t.TempDir(), "missing"), true
	a := start(t, cfg)
	if got := class(a, signed); got != "ok" {
		t.Fatalf("before: %s", got)
	}
	if err := a.Revoke(verify.Digest(signed)); err != nil {
		t.Fatal(err)
	}
	if got := class(a, signed); got != "revoked" {
		t.Errorf("after: %s", got)
	}
}

// TestP3_SignedTokensAreRevoked in each way that there is, cached or not.
func TestP3_SignedTokensAreRevoked(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	for name, id := range map[string]func(token string) rotation.ID{
		"digest": verify.SigningInputDigest,
		"jti":    func(string) rotation.ID { return verify.RevokedTokenID("1") },
	} {
		cfg := signedBy(file(t, one.public))
		cfg.StateFile = stateFile(t)
		a := start(t, cfg)
		token, other := one.sign(t, "1", time.Hour), one.sign(t, "2", time.Hour)
		p, err := a.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan bool, 1)
		go func() { gone <- a.AwaitRevocation(t.Context(), p) }()
		if err := a.Revoke(id(token)); err != nil {
			t.Fatal(err)
		}
		if !<-gone {
			t.Errorf("%s: who waits for the revocation is not told", name)
		}
		for range 2 {
			if err := verdict(a, token); !errors.Is(err, verify.ErrRevokedToken) {
				t.Errorf("%s: %v", name, err)
			}
			if err := verdict(a, other); err != nil {
				t.Errorf("%s: another token: %v", name, err)
			}
			_ = a.Close()
			a = start(t, cfg)
		}
	}
}

// TestKeyDirectory reads keys and revocations from a mounted Secret.
func TestKeyDirectory(t *testing.T) {
	t.Parallel()
	one, two := newIssuer(t), newIssuer(t)
	dir := t.TempDir()
	put := func(keys map[string]string) {
		payload := map[string][]byte{}
		for k, v := range keys {
			payload[k] = []byte(v)
		}
		if err := kubemount.Write(dir, payload, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	put(map[string]string{"key": one.public, "key-next": two.public})
	cfg := signedBy(dir)
	cfg.PollOnly, cfg.Poll = false, -1
	a := start(t, cfg)
	first, second := one.sign(t, "1", time.Hour), two.sign(t, "2", time.Hour)
	if verdict(a, first) != nil || verdict(a, second) != nil {
		t.Fatal("current and next must be accepted")
	}
	put(map[string]string{"key": two.public, "key-previous": one.public, "key-previous-until": "2999-01-01T00:00:00Z", "revoked": "jti 2\n"})
	eventually(t, a, "the revocation is read", func() bool { return errors.Is(verdict(a, second), verify.ErrRevokedToken) })
	if verdict(a, first) != nil {
		t.Error("the previous key is refused")
	}
}

// TestOverlapShorterThanTokensLive is a warning: tokens that the old key signed
// would be refused before they expire.
func TestOverlapShorterThanTokensLive(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	a := start(t, signedBy(file(t, one.public)))
	limits := func() string { return strings.Join(a.Status().Sources[0].Limits, "\n") }
	if verdict(a, one.sign(t, "1", 5*time.Minute)) != nil || limits() != "" {
		t.Errorf("with shorter tokens: %q", limits())
	}
	if verdict(a, one.sign(t, "2", time.Hour)) != nil || !strings.Contains(limits(), "good for 1h0m0s") {
		t.Errorf("with longer tokens: %q", limits())
	}
}

func TestKeyConfigFaults(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	for want, change := range map[string]func(*agent.Config){
		"no issuer":                           func(c *agent.Config) { c.JWT.Issuer = "" },
		"no audience":                         func(c *agent.Config) { c.JWT.Audiences = nil },
		"Config.KeyFile and Config.JWKSURL":   func(c *agent.Config) { c.JWKSURL = "https://issuer.example/keys" },
		"Config.Name and Config.KeyName":      func(c *agent.Config) { c.KeyName = "token" },
		"Config.TokenFile and Config.EnvFile": func(c *agent.Config) { c.TokenFile, c.EnvFile = "a", "b" },
		"KeyName must be":                     func(c *agent.Config) { c.KeyName = "no such/name" },
		"the algorithm for keys that":         func(c *agent.Config) { c.KeyAlgorithm = "none" },
	} {
		cfg := signedBy(file(t, one.public))
		change(&cfg)
		if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	cfg := signedBy(filepath.Join(t.TempDir(), "none"))
	if _, err := agent.Start(t.Context(), cfg); err == nil {
		t.Error("no key file, and no error")
	}
	cfg.WaitForSource = true
	a := start(t, cfg)
	if err := verdict(a, one.sign(t, "1", time.Hour)); !errors.Is(err, verify.ErrUnavailable) || a.Ready() {
		t.Errorf("nothing loaded: %v, ready %t", err, a.Ready())
	}
	if _, err := a.Token(); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("a token of keys: %v", err)
	}
}

// TestP4_OneBadSourceLeavesTheOther: a fault of the keys changes nothing about
// tokens, and is told.
func TestP4_OneBadSourceLeavesTheOther(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	keys := file(t, one.public)
	cfg := signedBy(keys)
	cfg.TokenFile = file(t, tokenN(0))
	a := start(t, cfg)
	updated := a.Updated()
	replace(t, keys, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	replace(t, cfg.TokenFile, tokenN(1))
	if changed, err := a.Reload(); err == nil || !changed {
		t.Errorf("changed %t, %v; want both a change and a fault", changed, err)
	}
	<-updated
	if !accepts(a, tokenN(1)) || verdict(a, one.sign(t, "1", time.Hour)) != nil {
		t.Error("what was good is not accepted")
	}
	if s := a.Status(); s.Sources[0].Error != "" || s.Sources[1].Error == "" || !s.Ready {
		t.Errorf("%+v", s)
	}
}
