package rotate_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func keyConfig(source string) agent.Config {
	return agent.Config{
		Poll: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Issuers: []agent.Issuer{{KeyFile: source, JWT: agent.JWT{Issuer: "https://issuer.example", Audiences: []string{"orders"}}}},
	}
}

// startKeyReceiver is startReceiver for signed tokens.
func startKeyReceiver(t *testing.T, source string) receiver {
	t.Helper()
	a, err := agent.Start(t.Context(), keyConfig(source))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(a.Status()) }))
	t.Cleanup(func() {
		s.Close()
		_ = a.Close()
	})
	return receiver{a, s.URL}
}

// The protocol for keys against a real agent: whatever a signer signs, and all
// that it has signed before, is accepted until its key is retired.
func TestSignersAreNeverRefused(t *testing.T) {
	for name, alg := range map[string]string{"key": "ES256", "laid out": "EdDSA", "jwks.json": "ES256", "set file": "EdDSA"} {
		t.Run(name, func(t *testing.T) {
			old := newSigner(t, alg)
			set := `{"keys":[` + old.jwk(t, old.thumb()) + `]}`
			p := path(t.TempDir())
			isSet := true
			switch name {
			case "key":
				put(t, filepath.Join(string(p), "key"), old.public)
				isSet = false
			case "laid out":
				if err := kubemount.Write(string(p), map[string][]byte{"key": []byte(old.jwk(t, old.thumb()))}, 0o600); err != nil {
					t.Fatal(err)
				}
				isSet = false
			case "jwks.json":
				put(t, filepath.Join(string(p), "jwks.json"), set)
			default:
				p = path(filepath.Join(string(p), "keys.json"))
				put(t, string(p), set)
			}
			r := startKeyReceiver(t, string(p))

			// The signer makes a token for each request, and sends the first that it
			// made, too, which the receiver knows again.
			var signs atomic.Pointer[signer]
			signs.Store(&old)
			first := old.sign(t, old.thumb(), "first", time.Hour)
			var sendsFirst atomic.Bool
			sendsFirst.Store(true)
			stop, sent, sending := make(chan struct{}), make(chan rotation.Slot), sync.WaitGroup{}
			sending.Go(func() {
				for {
					with := signs.Load()
					texts := []string{with.sign(t, with.thumb(), "each", time.Hour)}
					if sendsFirst.Load() {
						texts = append(texts, first)
					}
					var last rotation.Slot
					for i, text := range texts {
						principal, err := r.Verify(context.Background(), text)
						if err != nil {
							t.Errorf("token %d that %s signed is refused: %v", i, with.fingerprint(), err)
							continue
						}
						if i == 0 {
							last = principal.Slot()
						}
					}
					select {
					case <-stop:
						return
					case sent <- last:
					default:
					}
				}
			})
			var once sync.Once
			end := func() { once.Do(func() { close(stop); sending.Wait() }) }
			defer end()
			two := func() { <-sent; <-sent } // a whole round lies between

			private := filepath.Join(t.TempDir(), "private.pem")
			p.do(t, "stage", "--private-out", private).want(t, 0)
			fresh := readPrivate(t, alg, private)
			p.do(t, "promote", "--overlap", "2h", "--agent", r.url, "--wait", "20s", "--expect", fresh.fingerprint()).want(t, 0)
			r.until(t, fresh.sign(t, fresh.thumb(), "probe", time.Hour), nil)
			two()
			signs.Store(&fresh)
			two()
			if isSet {
				sendsFirst.Store(false)
				two()
				p.do(t, "retire", "--key", old.thumb()).want(t, 0)
				want := verify.ErrInvalidToken // nothing says whose it was
				if name == "jwks.json" {
					want = verify.ErrExpiredToken // that its key was retired stands beside the set
				}
				r.until(t, first, want)
			} else {
				waitSlot(t, r, fresh.fingerprint(), "current")
				two()
				p.do(t, "retire", "--agent", r.url).want(t, 1, old.fingerprint()+" was used", "less than --idle 15m0s")
				sendsFirst.Store(false)
				two()
				p.do(t, "retire", "--agent", r.url, "--idle", "1ns", "--wait", "20s").want(t, 0)
				r.until(t, first, errRefused) // without a kid nobody can tell whose it was
			}
			two()
			end()
		})
	}
}

func waitSlot(t *testing.T, r receiver, fingerprint, slot string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		changed := r.Updated()
		for _, k := range r.Status().Sources[0].Tokens {
			if k.Fingerprint == fingerprint && k.Slot == slot {
				return
			}
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatal("the agent does not take it over")
		}
	}
}

// What the old key signed is accepted until the deadline that promote declares,
// and not at it.
func TestOldKeyIsAcceptedUntilItsDeadline(t *testing.T) {
	old, fresh := newSigner(t, "EdDSA"), newSigner(t, "ES256")
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "key"), old.public)
	public := from(t, fresh.public)
	synctest.Test(t, func(t *testing.T) {
		cfg := keyConfig(string(dir))
		cfg.PollOnly, cfg.Poll = true, time.Minute
		a, err := agent.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		says := func(token string, want error) {
			t.Helper()
			if _, err := a.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		reload := func() {
			t.Helper()
			if changed, err := a.Reload(); err != nil || !changed {
				t.Fatalf("%t, %v", changed, err)
			}
		}
		dir.do(t, "stage", "--from", public).want(t, 0)
		reload()
		says(fresh.sign(t, "", "1", time.Hour), nil)
		time.Sleep(90 * time.Second)
		signed := old.sign(t, "", "2", 3*time.Hour)
		dir.do(t, "promote", "--overlap", "2h").want(t, 0)
		promoted := time.Now()
		reload()
		says(signed, nil)
		deadline := a.Status().Sources[0].OverlapExpires
		if declared := keyContent(t, dir).Previous[0].Until; !deadline.Equal(declared) || declared.Before(promoted.Add(2*time.Hour-time.Second)) {
			t.Fatalf("the deadline is %s, declared %s, promoted at %s", deadline, declared, promoted)
		}
		time.Sleep(time.Until(deadline) - 1)
		says(signed, nil)
		says(old.sign(t, "", "3", time.Hour), nil)
		time.Sleep(1)
		if _, err := a.Verify(t.Context(), signed); err == nil {
			t.Error("accepted at the deadline")
		}
		says(fresh.sign(t, "", "4", time.Hour), nil)
	})
}

// A revocation is read with the next look, for a key and for one token.
func TestRevokedKeysAreRefused(t *testing.T) {
	old, fresh := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "key"), old.public)
	r := startKeyReceiver(t, string(dir))
	one, two := old.sign(t, "", "1", time.Hour), old.sign(t, "", "2", time.Hour)
	r.until(t, one, nil)
	dir.do(t, "revoke", "--jti", "1").want(t, 0)
	r.until(t, one, verify.ErrRevokedToken)
	r.until(t, two, nil)
	dir.do(t, "stage", "--from", from(t, fresh.public)).want(t, 0)
	dir.do(t, "revoke", "--slot", "current").want(t, 0)
	r.until(t, two, verify.ErrInvalidToken) // nothing says whose it was
	r.until(t, fresh.sign(t, "", "3", time.Hour), nil)
}
