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

// An issuer signs tokens with its own Ed25519 key.
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

// signedBy returns a Config that accepts the tokens that the keys at path signed.
func signedBy(path string) agent.Config {
	return agent.Config{
		PollOnly: true, Overlap: 10 * time.Minute,
		Issuers: []agent.Issuer{{KeyFile: path, JWT: agent.JWT{Issuer: "https://issuer.example", Audiences: []string{"orders"}}}},
	}
}

// TestKeysAloneAreCounted counts verifications of an Agent without a token source.
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

// TestP2_KeysRotateAsTokensDo: a superseded key stays accepted until its deadline, after
// restarts and for cached tokens too.
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
		if err != nil {
			t.Fatal(err)
		}
		if p.Slot() != rotation.Current || p.Method() != verify.MethodJWT {
			t.Errorf("slot %s, method %s", p.Slot(), p.Method())
		}
		if p.Source() != "keys" || p.Subject() != canary+"alice" {
			t.Errorf("source %s, subject %s", p.Source(), p.Subject())
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
		if !src.OverlapExpires.Equal(deadline) || src.StateError != "" {
			t.Errorf("the overlap ends at %s, want %s; error %q", src.OverlapExpires, deadline, src.StateError)
		}
		if len(src.Tokens) != 2 || src.Tokens[0].Algorithm != "EdDSA" {
			t.Fatalf("keys %+v", src.Tokens)
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

// TestTokensAndKeys verifies shared and signed tokens with one Agent, which counts each
// by its method.
func TestTokensAndKeys(t *testing.T) {
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
		t.Error("the metrics contain a claim")
	}
	if n := len(a.Status().Sources); n != 2 {
		t.Errorf("Status has %d sources", n)
	}
}

// TestP3_RefusedAsATokenThoughSigned: a token that the token source refuses is refused
// even if an accepted key signed it. It is counted as a shared token.
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

// TestP3_RevokedAsATokenBeforeTheSourceIsLoaded: a token that was revoked by hand as a
// shared token is refused even if a key signed it and the token source is not loaded yet.
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

// TestP3_SignedTokensAreRevoked revokes a cached token by digest and by jti. The
// revocation survives a restart.
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
		revoked := make(chan bool, 1)
		go func() { revoked <- a.AwaitRevocation(t.Context(), p) }()
		if err := a.Revoke(id(token)); err != nil {
			t.Fatal(err)
		}
		if !<-revoked {
			t.Errorf("%s: AwaitRevocation does not report the revocation", name)
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

// TestOverlapShorterThanTokenLifetime: Status warns that a superseded key would be
// refused before the tokens that it signed expire.
func TestOverlapShorterThanTokenLifetime(t *testing.T) {
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

func TestKeyConfigErrors(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	for want, change := range map[string]func(*agent.Config){
		"Issuer.JWT.Issuer is missing":         func(c *agent.Config) { c.Issuers[0].JWT.Issuer = "" },
		"Issuer.JWT.Audiences is missing":      func(c *agent.Config) { c.Issuers[0].JWT.Audiences = nil },
		"Issuer.KeyFile and Issuer.JWKSURL":    func(c *agent.Config) { c.Issuers[0].JWKSURL = "https://issuer.example/keys" },
		"set Issuer.KeyFile or Issuer.JWKSURL": func(c *agent.Config) { c.Issuers[0].KeyFile, c.Issuers[0].JWT.Issuer = "", "i" },
		"Config.Name and Issuer.Name":          func(c *agent.Config) { c.Issuers[0].Name = "token" },
		"Config.TokenFile and Config.EnvFile":  func(c *agent.Config) { c.TokenFile, c.EnvFile = "a", "b" },
		"Issuer.Name must be":                  func(c *agent.Config) { c.Issuers[0].Name = "no such/name" },
		"the algorithm for keys that":          func(c *agent.Config) { c.Issuers[0].KeyAlgorithm = "none" },
	} {
		cfg := signedBy(file(t, one.public))
		change(&cfg)
		if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	cfg := signedBy(filepath.Join(t.TempDir(), "none"))
	if _, err := agent.Start(t.Context(), cfg); err == nil {
		t.Error("Start succeeded without a key file")
	}
	cfg.WaitForSource = true
	a := start(t, cfg)
	if err := verdict(a, one.sign(t, "1", time.Hour)); !errors.Is(err, verify.ErrUnavailable) || a.Ready() {
		t.Errorf("before the keys are loaded: %v, ready %t", err, a.Ready())
	}
	if _, err := a.Token(); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("Token without a token source: %v", err)
	}
}

// TestP4_OneBadSourceLeavesTheOther: an error of the key source is reported and does not
// affect the token source.
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
		t.Errorf("changed %t, %v; want both a change and an error", changed, err)
	}
	<-updated
	if !accepts(a, tokenN(1)) || verdict(a, one.sign(t, "1", time.Hour)) != nil {
		t.Error("a good token is refused")
	}
	if s := a.Status(); s.Sources[0].Error != "" || s.Sources[1].Error == "" || !s.Ready {
		t.Errorf("%+v", s)
	}
}
