package jwks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestRemoteReplaces: a new key set replaces the old one at once, without an overlap.
func TestRemoteReplaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newEC(t), newEC(t), newEC(t)
		s, p := remote(t, RemoteOptions{}, says(200, string(set(a.jwk("kid", "a"), b.jwk("kid", "b")))))
		f := followed(t, s)
		check(t, f.accepts(a.sign(t, "a")), f.accepts(b.sign(t, "b")))
		p.says(says(200, string(set(b.jwk("kid", "b"), c.jwk("kid", "c")))))
		s.Refresh()
		synctest.Wait()
		check(t, f.accepts(b.sign(t, "b")), f.accepts(c.sign(t, "c")))
		if err := f.accepts(a.sign(t, "a")); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("a key that is gone: %v", err)
		}
		if n := len(f.Load().Entries); n != 2 {
			t.Errorf("%d keys", n)
		}
	})
}

// TestP4_BrokenServerChangesNothing: a bad answer changes no keys and delays no
// verification.
func TestP4_BrokenServerChangesNothing(t *testing.T) {
	t.Parallel()
	good := newEC(t)
	bad := string(set(newEC(t).jwk("kid", "bad")))
	for name, answer := range map[string]reply{
		"500":         says(500, bad),
		"204":         says(204, bad),
		"206":         says(206, bad),
		"garbage":     says(200, canary),
		"half":        says(200, bad[:len(bad)-1]),
		"empty":       says(200, ""),
		"no keys":     says(200, `{"keys":[]}`),
		"secret":      says(200, string(set(signers()["HS256"].jwk("kid", "bad")))),
		"huge":        says(200, bad+strings.Repeat(" ", 5<<20)),
		"hangs":       hangs,
		"loop":        says(302, "", "Location", address),
		"plain":       says(302, "", "Location", "http://idp.example/"),
		"no location": says(302, bad),
		"refuses":     func(*http.Request) replied { return replied{err: errors.New(canary)} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := remote(t, RemoteOptions{}, says(200, string(set(good.jwk("kid", "good")))))
				f := followed(t, s)
				before := f.Load()
				p.says(answer)
				token := good.sign(t, "good")
				for end := time.Now().Add(30 * time.Minute); time.Now().Before(end); time.Sleep(7 * time.Second) {
					now := time.Now()
					if err := f.accepts(token); err != nil || !time.Now().Equal(now) {
						t.Fatalf("%v after waiting %s", err, time.Since(now))
					}
				}
				if f.Load() != before || f.Stats().LastError == nil {
					t.Errorf("changed, or no error is reported: %v", f.Stats().LastError)
				}
				p.says(says(200, bad))
				time.Sleep(2 * time.Minute)
				if f.Load() == before || f.Stats().LastError != nil {
					t.Errorf("did not heal: %v", f.Stats().LastError)
				}
			})
		})
	}
}

// TestRemoteUnknownKey: a newly published key is accepted soon after its first use, and
// tokens cause at most three requests a minute.
func TestRemoteUnknownKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newEC(t), newEC(t)
		s, p := remote(t, RemoteOptions{}, says(200, string(set(a.jwk("kid", "a"))), "Cache-Control", "max-age=3600"))
		f := followed(t, s)
		p.says(says(200, string(set(a.jwk("kid", "a"), b.jwk("kid", "b"))), "Cache-Control", "max-age=3600"))
		now := time.Now()
		if err := f.accepts(b.sign(t, "b")); err == nil || !time.Now().Equal(now) {
			t.Fatalf("%v; it must not wait for a request", err)
		}
		synctest.Wait()
		check(t, f.accepts(b.sign(t, "b")))
		if p.count() != 2 {
			t.Fatalf("%d requests", p.count())
		}

		// An attacker sends names at random for an hour; the keys change meanwhile.
		began := time.Now()
		for i := 0; time.Since(began) < 50*time.Minute; i++ {
			if err := f.accepts(a.sign(t, fmt.Sprint("x", i))); !errors.Is(err, verify.ErrInvalidToken) {
				t.Fatal(err)
			}
			time.Sleep(900 * time.Millisecond)
		}
		if n := p.count() - 2; n < 90 || n > 153 {
			t.Errorf("%d requests in 50 minutes, want two to three a minute", n)
		}
		for i := 2; i+5 < len(p.times); i++ {
			if gap := p.times[i+5].Sub(p.times[i]); gap < 90*time.Second {
				t.Errorf("six requests within %s", gap)
			}
		}
	})
}

// TestRemoteUnknownKeyWhileCooling: an unknown key that comes too early causes a request
// later, also if no other comes.
func TestRemoteUnknownKeyWhileCooling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		s, p := remote(t, RemoteOptions{}, says(200, keys, "Cache-Control", "max-age=3600"))
		read(t, s)
		s.UnknownKey()
		read(t, s)
		<-s.Changed()
		s.UnknownKey()
		time.Sleep(20*time.Second - 1)
		if read(t, s); p.count() != 2 {
			t.Fatalf("%d requests", p.count())
		}
		time.Sleep(1)
		if read(t, s); p.count() != 3 {
			t.Fatalf("%d requests", p.count())
		}
		time.Sleep(10 * time.Minute)
		if read(t, s); p.count() != 3 {
			t.Fatalf("%d requests without having been asked", p.count())
		}
	})
}

// TestRemoteKidBeforePublication: a kid that was not found is looked for again after the
// cool-down, while its tokens come.
func TestRemoteKidBeforePublication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newEC(t), newEC(t)
		s, p := remote(t, RemoteOptions{}, says(200, string(set(a.jwk("kid", "a"))), "Cache-Control", "max-age=3600"))
		f := followed(t, s)
		token := b.sign(t, "b")
		if f.accepts(token) == nil {
			t.Fatal("accepted before its key was published")
		}
		synctest.Wait() // it was asked for in vain
		p.says(says(200, string(set(a.jwk("kid", "a"), b.jwk("kid", "b"))), "Cache-Control", "max-age=3600"))
		began := time.Now()
		for f.accepts(token) != nil && time.Since(began) < 10*time.Minute {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if took := time.Since(began); took > 31*time.Second || p.count() != 3 {
			t.Errorf("accepted after %s and %d requests", took, p.count())
		}
	})
}

// TestRemoteNewKeyUnderOldKid: an issuer that restarts may have a new key with the old kid.
func TestRemoteNewKeyUnderOldKid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, fresh := newEC(t), newEC(t)
		s, p := remote(t, RemoteOptions{}, says(200, string(set(old.jwk("kid", "k"))), "Cache-Control", "max-age=3600"))
		f := followed(t, s)
		check(t, f.accepts(old.sign(t, "k")))
		p.says(says(200, string(set(fresh.jwk("kid", "k"))), "Cache-Control", "max-age=3600"))
		if f.accepts(fresh.sign(t, "k")) == nil {
			t.Fatal("accepted before its key was read")
		}
		synctest.Wait()
		check(t, f.accepts(fresh.sign(t, "k")))
		if f.accepts(old.sign(t, "k")) == nil || p.count() != 2 {
			t.Errorf("the old key is accepted, or it took %d requests", p.count())
		}
		// Forgers cause three requests a minute at most.
		for range 600 {
			if f.accepts(old.sign(t, "k")) == nil {
				t.Fatal("accepted")
			}
			time.Sleep(time.Second)
		}
		if n := p.count() - 2; n > 32 {
			t.Errorf("%d requests in 10 minutes of forged tokens", n)
		}
	})
}

// TestForgedTokenDelaysNoNewKey: forged tokens delay the acceptance of a new key by at most
// the cool-down.
func TestForgedTokenDelaysNoNewKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kid    string
		every  time.Duration
		within time.Duration
	}{
		"an unknown kid":                   {"x", time.Minute, 31 * time.Second},
		"a bad signature":                  {"a", time.Minute, 31 * time.Second},
		"an unknown kid, without a pause":  {"x", 100 * time.Millisecond, 31 * time.Second},
		"a bad signature, without a pause": {"a", 100 * time.Millisecond, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, b, forger := newEC(t), newEC(t), newEC(t)
				s, p := remote(t, RemoteOptions{}, says(200, string(set(a.jwk("kid", "a"))), "Cache-Control", "max-age=3600"))
				f := followed(t, s)
				forged, good := forger.sign(t, c.kid), b.sign(t, "b")
				began := time.Now()
				for time.Since(began) < 5*time.Minute {
					if f.accepts(forged) == nil {
						t.Fatal("accepted")
					}
					time.Sleep(c.every)
				}
				if f.accepts(forged) == nil { // just before the new key
					t.Fatal("accepted")
				}
				synctest.Wait()
				p.says(says(200, string(set(a.jwk("kid", "a"), b.jwk("kid", "b"))), "Cache-Control", "max-age=3600"))
				since := time.Now()
				_ = f.accepts(good) // it asks
				synctest.Wait()
				for f.accepts(good) != nil {
					if time.Since(since) > c.within {
						t.Fatalf("not accepted after %s", time.Since(since))
					}
					_ = f.accepts(forged)
					time.Sleep(min(c.every, time.Second))
					synctest.Wait()
				}
			})
		})
	}
}
