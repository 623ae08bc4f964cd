package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/agent/internal/statefile"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// jwk returns the public key as a JWK with the kid.
func (i issuer) jwk(kid string) string {
	x := base64.RawURLEncoding.EncodeToString(i.private.Public().(ed25519.PublicKey))
	return `{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"` + kid + `","x":"` + x + `"}`
}

// TestP3_KeyRevokedByOneOfItsNames: a key is published under two kids. Revoking one kid
// revokes the key, so tokens with the other kid are refused too.
func TestP3_KeyRevokedByOneOfItsNames(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	dir := t.TempDir()
	write := func(keys map[string][]byte) {
		if err := kubemount.Write(dir, keys, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	set := []byte(`{"keys":[` + i.jwk("main") + `,` + i.jwk("spare") + `]}`)
	write(map[string][]byte{"jwks.json": set})
	a := start(t, signedBy(dir))
	token := i.sign(t, "1", time.Hour)
	if err := verdict(a, token); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, k := range a.Status().Sources[0].Tokens {
		kids = append(kids, k.KeyID)
	}
	if got := strings.Join(kids, " "); got != "main spare" {
		t.Errorf("Status has the kids %q", got)
	}
	write(map[string][]byte{"jwks.json": set, "revoked": []byte("kid spare\n")})
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := verdict(a, token); !errors.Is(err, verify.ErrRevokedToken) {
		t.Errorf("%v, want it revoked", err)
	}
}

// TestP3_KeyRevokedByNameStaysRevoked: a key that was revoked by its kid stays refused
// after the revocation of the kid is lifted for another key.
func TestP3_KeyRevokedByNameStaysRevoked(t *testing.T) {
	t.Parallel()
	leaked, fresh := newIssuer(t), newIssuer(t)
	dir := t.TempDir()
	cfg := signedBy(dir)
	cfg.StateFile = stateFile(t)
	var a *agent.Agent
	read := func(keys map[string]string) {
		payload := map[string][]byte{}
		for k, v := range keys {
			payload[k] = []byte(v)
		}
		if err := kubemount.Write(dir, payload, 0o400); err != nil {
			t.Fatal(err)
		}
		if a == nil {
			a = start(t, cfg)
		} else if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	read(map[string]string{"key": leaked.jwk("main")})
	token := leaked.sign(t, "1", time.Hour)
	p, err := a.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	revoked := make(chan bool, 1)
	go func() { revoked <- a.AwaitRevocation(t.Context(), p) }()
	read(map[string]string{"key": leaked.jwk("main"), "revoked": "kid main\n"})
	if !<-revoked {
		t.Error("AwaitRevocation does not report the revocation")
	}
	src := a.Status().Sources[0]
	if len(src.Tokens) != 0 || !strings.Contains(strings.Join(src.Limits, ";"), "nothing is accepted") {
		t.Errorf("the revoked key is shown as accepted: %+v", src)
	}
	read(map[string]string{"key": fresh.jwk("main"), "revoked": "kid main\n"})
	read(map[string]string{"key": fresh.jwk("main")})
	if err := verdict(a, fresh.sign(t, "2", time.Hour)); !errors.Is(err, verify.ErrRevokedToken) {
		t.Errorf("a token with the revoked kid: %v", err)
	}
	read(map[string]string{"key": fresh.jwk("main"), "unrevoked": "kid main\n"})
	for range 2 {
		if err := verdict(a, token); err == nil {
			t.Error("a token of the leaked key is accepted again")
		}
		if err := verdict(a, fresh.sign(t, "2", time.Hour)); err != nil {
			t.Errorf("a token of the fresh key: %v", err)
		}
		_ = a.Close()
		a = start(t, cfg)
	}
}

// TestP8_KeyRevokedByNameStaysRevokedUnderAnother: a key that was revoked by a kid and is
// published under another kid stays refused after restarts, as long as one of its
// revocations holds. A state file without revoked_names can still be read.
func TestP8_KeyRevokedByNameStaysRevokedUnderAnother(t *testing.T) {
	t.Parallel()
	leaked, other := newIssuer(t), newIssuer(t)
	path := filepath.Join(t.TempDir(), "keys")
	set := func(keys ...string) { replace(t, path, `{"keys":[`+strings.Join(keys, ",")+`]}`) }
	cfg := signedBy(path)
	cfg.StateFile = stateFile(t)
	set(leaked.jwk("main"), leaked.jwk("spare"), other.jwk("other"))
	a := start(t, cfg)
	token := leaked.sign(t, "1", time.Hour)
	restart := func() {
		t.Helper()
		_ = a.Close()
		a = start(t, cfg)
		if got := a.Status().Sources[0].StateError; got != "" {
			t.Error(got)
		}
	}
	if err := errors.Join(a.Revoke(verify.RevokedKeyID("main")), a.Revoke(verify.RevokedKeyID("spare"))); err != nil {
		t.Fatal(err)
	}
	set(leaked.jwk("new"), other.jwk("other"))
	restart()
	for _, kid := range []string{"main", "spare"} {
		for range 2 {
			if verdict(a, token) == nil || verdict(a, other.sign(t, "1", time.Hour)) != nil {
				t.Errorf("after %s was revoked, the key is accepted, or the other one is refused", kid)
			}
			restart()
		}
		if err := a.Unrevoke(verify.RevokedKeyID(kid)); err != nil {
			t.Error(err)
		}
	}
	if err := verdict(a, token); err != nil {
		t.Errorf("after all revocations were lifted: %v", err)
	}
	if err := a.Revoke(verify.RevokedKeyID("new")); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	err := statefile.Update(cfg.StateFile, func(payload []byte, err error) ([]byte, error) {
		var state struct {
			Schema  int              `json:"schema"`
			Sources []map[string]any `json:"sources"`
		}
		if err := errors.Join(err, json.Unmarshal(payload, &state)); err != nil {
			return nil, err
		}
		delete(state.Sources[0], "revoked_names")
		return json.Marshal(state)
	})
	if err != nil {
		t.Fatal(err)
	}
	restart()
	if verdict(a, token) == nil {
		t.Error("without the names: accepted")
	}
}

// TestP5_StoredKeyHasItsID: a key that the state file has under another ID is not accepted,
// because nobody could revoke it.
func TestP5_StoredKeyHasItsID(t *testing.T) {
	t.Parallel()
	one, two := newIssuer(t), newIssuer(t)
	path := file(t, one.public)
	cfg := signedBy(path)
	cfg.StateFile = stateFile(t)
	a := start(t, cfg)
	replace(t, path, two.public)
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	token := one.sign(t, "1", time.Hour)
	restart := func() {
		t.Helper()
		_ = a.Close()
		a = start(t, cfg)
	}
	if restart(); verdict(a, token) != nil {
		t.Fatal("the superseded key is not in the state file")
	}
	_ = a.Close()
	k, err := jwt.NewKey(jwt.KeyConfig{Material: one.private.Public()})
	if err != nil {
		t.Fatal(err)
	}
	is, was := rotation.ID{1}, k.ID()
	text, err := os.ReadFile(cfg.StateFile)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(hex.EncodeToString(was[:])), []byte(hex.EncodeToString(is[:])))
	if err := os.WriteFile(cfg.StateFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if restart(); verdict(a, token) == nil {
		t.Error("accepted")
	}
}

// TestP3_AwaitMissesNoRevocation revokes while AwaitRevocation looks at the many IDs of the
// Principal.
func TestP3_AwaitMissesNoRevocation(t *testing.T) {
	t.Parallel()
	a := start(t, agent.Config{TokenFile: file(t, tokenN(0)), PollOnly: true})
	others := make([]verify.ID, 1<<16)
	for i := range others {
		others[i] = verify.ID{1}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := range 20 {
		id := verify.Digest(tokenN(i))
		p := verify.NewPrincipal(verify.PrincipalConfig{
			Method: verify.MethodToken, Source: a.Status().Sources[0].Name, Credential: id, RevocableBy: others,
		})
		began, revoked := make(chan struct{}), make(chan bool)
		go func() {
			close(began)
			revoked <- a.AwaitRevocation(ctx, p)
		}()
		<-began
		if err := a.Revoke(id); err != nil {
			t.Error(err)
		}
		if !<-revoked {
			t.Fatal("missed")
		}
	}
}

// TestP3_StreamsOfRevokedKeysEnd revokes a key by its thumbprint and by the kid in the
// token's header.
func TestP3_StreamsOfRevokedKeysEnd(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	for name, id := range map[string]func(p *verify.Principal) rotation.ID{
		"kid of the token": func(*verify.Principal) rotation.ID { return verify.RevokedKeyID("leaked") },
		"thumbprint": func(*verify.Principal) rotation.ID {
			k, err := jwt.NewKey(jwt.KeyConfig{Material: one.private.Public()})
			if err != nil {
				t.Fatal(err)
			}
			return k.ID()
		},
	} {
		a := start(t, signedBy(file(t, one.public)))
		claims := gojwt.MapClaims{"iss": "https://issuer.example", "aud": "orders", "exp": time.Now().Add(time.Hour).Unix()}
		unsigned := gojwt.NewWithClaims(gojwt.SigningMethodEdDSA, claims)
		unsigned.Header["kid"] = "leaked"
		token, err := unsigned.SignedString(one.private)
		if err != nil {
			t.Fatal(err)
		}
		p, err := a.Verify(t.Context(), token)
		if err != nil || p.Subject() != "keys" {
			t.Fatalf("%q, %v", p.Subject(), err)
		}
		revoked := make(chan bool, 1)
		go func() { revoked <- a.AwaitRevocation(t.Context(), p) }()
		if err := a.Revoke(id(p)); err != nil {
			t.Fatal(err)
		}
		if !<-revoked || !errors.Is(verdict(a, token), verify.ErrRevokedToken) {
			t.Errorf("%s: AwaitRevocation does not report it, or the token is accepted: %v", name, verdict(a, token))
		}
	}
}

// TestP5_StaleServerKeysAreNotUsed: if the server has not confirmed its keys for
// MaxStale, their tokens are refused as unavailable. Status says so.
func TestP5_StaleServerKeysAreNotUsed(t *testing.T) {
	t.Parallel()
	one := newIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		cfg := signedBy("")
		cfg.Issuers[0].JWKSURL = "https://issuer.example/keys"
		cfg.Issuers[0].JWKS = agent.JWKS{MaxStale: 5 * time.Minute, Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			body := `{"keys":[` + one.jwk("a") + `,{"kty":"unknown"}]}`
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
		})}}
		a := start(t, cfg)
		token := one.sign(t, "1", time.Hour)
		limits := func() string { return strings.Join(a.Status().Sources[0].Limits, ";") }
		if verdict(a, token) != nil || !strings.Contains(limits(), "left out: ") {
			t.Fatalf("%v; Status does not name the key that was left out: %q", verdict(a, token), limits())
		}
		down.Store(true)
		time.Sleep(6 * time.Minute)
		if err := verdict(a, token); !errors.Is(err, verify.ErrUnavailable) {
			t.Errorf("after MaxStale: %v", err)
		}
		if len(a.Status().Sources[0].Tokens) != 0 || !strings.Contains(limits(), "--max-stale") {
			t.Errorf("Status shows the keys as accepted: %q", limits())
		}
		down.Store(false)
		time.Sleep(2 * time.Minute)
		if err := verdict(a, token); err != nil {
			t.Errorf("the server is back: %v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestStateFileWithSecretKeys: the state file holds no HMAC secret, but the last use of a
// declared one. A secret that the source replaces during a restart is forgotten, and Status
// does not show it as accepted.
func TestStateFileWithSecretKeys(t *testing.T) {
	t.Parallel()
	const old, current = "CANARY-old-secret-of-at-least-32-bytes", "CANARY-new-secret-of-at-least-32-bytes"
	dir := t.TempDir()
	payload := map[string][]byte{"key": []byte(current), "key-previous": []byte(old), "key-previous-until": []byte("2999-01-01T00:00:00Z")}
	if err := kubemount.Write(dir, payload, 0o400); err != nil {
		t.Fatal(err)
	}
	cfg := signedBy(dir)
	cfg.StateFile = stateFile(t)
	a := start(t, cfg)
	token, err := gojwt.NewWithClaims(gojwt.SigningMethodHS256, gojwt.MapClaims{
		"iss": "https://issuer.example", "aud": "orders", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if err := verdict(a, token); err != nil {
		t.Fatal(err)
	}
	used := a.Status().Sources[0].PreviousLastUsed
	_ = a.Close()
	text, err := os.ReadFile(cfg.StateFile)
	if err != nil || strings.Contains(string(text), "CANARY") || strings.Contains(string(text), base64.RawURLEncoding.EncodeToString([]byte(old))[:20]) {
		t.Errorf("%v\n%s", err, text)
	}
	a = start(t, cfg)
	if got := a.Status().Sources[0].PreviousLastUsed; used.IsZero() || !got.Equal(used) {
		t.Errorf("last used %s, want %s", got, used)
	}
	_ = a.Close()
	if err := kubemount.Write(dir, map[string][]byte{"key": []byte(old)}, 0o400); err != nil {
		t.Fatal(err)
	}
	src := start(t, cfg).Status().Sources[0]
	if len(src.Tokens) != 1 || src.Tokens[0].Slot != "current" {
		t.Errorf("accepted: %+v, want only the current key", src.Tokens)
	}
	if src.Rotations != 1 {
		t.Errorf("%d rotations, want 1", src.Rotations)
	}
}
