package rotate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// performKeys is perform for verification keys.
func performKeys(t *testing.T, b bench, signers map[string]signer, lines ...line) {
	t.Helper()
	var words []string
	for name, s := range signers {
		words = append(words, "PUBLIC-"+name, from(t, s.public), "PRINT-"+name, s.fingerprint(), "THUMB-"+name, s.thumb())
	}
	r := strings.NewReplacer(words...)
	for _, l := range lines {
		args := strings.Fields(r.Replace(l.step))
		before := b.bytes(t)
		b.do(t, args[0], append(args[1:], "--dry-run", "--output=json")...).want(t, 0, `"dry_run": true`, `"changed": true`, `"kind": "keys"`)
		if b.bytes(t) != before {
			t.Fatalf("%s: a dry run changes the target", l.step)
		}
		b.do(t, args[0], args[1:]...).want(t, 0)
		wantKeys(t, b, signers, l.state)
		after := b.bytes(t)
		b.do(t, args[0], append(args[1:], "--output=json")...).want(t, 0, `"changed": false`, "nothing changed: ")
		if b.bytes(t) != after {
			t.Errorf("%s: the second time changes the target again", l.step)
		}
	}
	if have := keys(t, b); have["file"] == "" && have["foreign"] != "f" {
		t.Error("a key that is not ours has changed")
	}
}

func TestKeyStepsCanBeRepeated(t *testing.T) {
	s := map[string]signer{"one": newSigner(t, "EdDSA"), "two": newSigner(t, "ES256"), "three": newSigner(t, "RS256"), "hmac": newSigner(t, "HS256")}
	for name, b := range keyBenches(t, "key", s["one"].public) {
		t.Run(name, func(t *testing.T) {
			performKeys(
				t, b, s,
				line{"stage --from PUBLIC-two", "current=one next=two"},
				line{"promote --overlap 2h", "current=two previous=one"},
				line{"retire", "current=two"},
				line{"stage --from PUBLIC-three", "current=two next=three"},
				line{"promote --until 2999-01-01T00:00:00Z --expect PRINT-three", "current=three previous=two"},
				line{"revoke", "current=three revoked=two"},
				line{"revoke --digest THUMB-one", "current=three revoked=two revoked=one"},
				line{"revoke --forget THUMB-one", "current=three revoked=two"},
				line{"stage --from PUBLIC-hmac", "current=three next=hmac revoked=two"},
				line{"revoke --slot current --expect PRINT-three", "current=hmac revoked=two revoked=three"},
				line{"stage --from PUBLIC-one", "current=hmac next=one revoked=two revoked=three"},
			)
		})
	}
}

// A key keeps its bytes as it goes from slot to slot, and its deadline is counted
// from the promotion.
func TestKeysKeepTheirBytes(t *testing.T) {
	old, fresh := newSigner(t, "ES256"), newSigner(t, "ES256")
	text := "\n" + strings.Replace(fresh.jwk(t, "2031"), `{`, `{ "x-ours": [1E400, "é"], `, 1) + "\n\n"
	for name, b := range keyBenches(t, "key", "\n"+old.public+"\r\n") {
		t.Run(name, func(t *testing.T) {
			b.do(t, "stage", "--from", from(t, text)).want(t, 0, "next     "+fresh.fingerprint()+`, ES256, kid "2031"`)
			begun := time.Now()
			b.do(t, "promote", "--overlap", "24h").want(t, 0, "next: let signers change to the new key; then retire")
			have := keys(t, b)
			if have["key"] != text || have["key-previous"] != "\n"+old.public+"\r\n" {
				t.Errorf("%q", have)
			}
			until := keyContent(t, b).Previous[0].Until
			if until.Before(begun.Add(24*time.Hour)) || until.After(time.Now().Add(24*time.Hour+time.Second)) {
				t.Errorf("until %s", until)
			}
			b.do(t, "status", "--output=json").want(t, 0, `"kid": "2031"`, `"alg": "ES256"`, `"kind": "keys"`)
		})
	}
}

// How long an old key is needed nobody can guess.
func TestKeysNeedAnOverlap(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
	for name, b := range keyBenches(t, "key", one.public) {
		t.Run(name, func(t *testing.T) {
			b.do(t, "stage", "--from", from(t, two.public)).want(t, 0)
			before := b.bytes(t)
			b.do(t, "promote").want(t, 2, "--overlap is missing", "the longest token is good for")
			b.do(t, "now").want(t, 2, "--overlap is missing")
			if b.bytes(t) != before {
				t.Error("refused, and changed all the same")
			}
			b.do(t, "now", "--overlap", "1h", "--from", from(t, two.public)).want(t, 0)
			wantKeys(t, b, map[string]signer{"one": one, "two": two}, "current=two previous=one")
		})
	}
}

// A file with one key has no room for a second, and says what has.
func TestOneKeyAlone(t *testing.T) {
	s := newSigner(t, "ES256")
	h := newSigner(t, "HS256")
	for name, c := range map[string]struct{ text, says, kind string }{
		"PEM":    {s.public, "make a directory with the key in the file DIRECTORY/key", ""},
		"secret": {h.public, "make a directory with the key in the file DIRECTORY/key", "keys"},
		"JWK":    {s.jwk(t, "x"), `make a set of it, {"keys":[ before and ]} behind it`, ""},
	} {
		file := path(filepath.Join(t.TempDir(), "it"))
		put(t, string(file), c.text)
		for _, step := range []string{"stage", "promote", "retire", "revoke", "now"} {
			file.do(t, step, "--kind", c.kind).want(t, 1, c.says)
		}
		file.do(t, "status", "--kind", c.kind).want(t, 0, "good", "next: none: ")
		if text, _ := os.ReadFile(string(file)); string(text) != c.text {
			t.Errorf("%s: changed", name)
		}
	}
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "jwks.json"), s.jwk(t, "x"))
	dir.do(t, "stage").want(t, 1, "make a set of it")
	dir.do(t, "status").want(t, 0, s.fingerprint())
}

// Which kind it is follows from the keys, or is said.
func TestKind(t *testing.T) {
	s, two := newSigner(t, "ES256"), newSigner(t, "ES256")
	both := t.TempDir()
	put(t, filepath.Join(both, "token"), one)
	put(t, filepath.Join(both, "key"), s.public)
	for _, b := range []bench{path(both), keySecret(t, map[string]string{"token": one, "key": s.public})} {
		before := b.bytes(t)
		for _, step := range []string{"stage", "promote", "retire", "revoke", "now", "status"} {
			b.do(t, step).want(t, 2, "has tokens and verification keys; say which with --kind tokens or --kind keys")
		}
		b.do(t, "stage", "--kind", "all").want(t, 2, "--kind must be tokens or keys")
		if b.bytes(t) != before {
			t.Error("refused, and changed all the same")
		}
		b.do(t, "stage", "--kind", "keys", "--from", from(t, two.public)).want(t, 0, "staged "+two.fingerprint()+" as the next key")
		b.do(t, "now", "--kind", "tokens").want(t, 0, "promoted ")
		have := keys(t, b)
		if have["key"] != s.public || have["key-next"] != two.public {
			t.Error("the verification keys are not those that were staged")
		}
		if have["token"] == one || have["token-previous"] != one {
			t.Error("the token was not rotated")
		}
	}
	for _, b := range []bench{path(t.TempDir()), keySecret(t, map[string]string{"foreign": "f", "revoked": ""})} {
		o := b.do(t, "stage").want(t, 1, "no key token, and none of key or jwks.json: ")
		if _, ok := b.(path); !ok {
			o.want(t, 1, "the keys there are foreign, revoked; ")
		}
	}
}

// What must not be staged is refused with the parser's fix, and never quoted.
func TestBadKeys(t *testing.T) {
	s := newSigner(t, "ES256")
	for name, b := range keyBenches(t, "key", s.public) {
		t.Run(name, func(t *testing.T) {
			before := b.bytes(t)
			for text, says := range map[string]string{
				"CANARY-1c3a9e":                         "an HMAC secret of 13 bytes; HS256 needs at least 32",
				"CANARY-1c3a9e x":                       "neither JSON, nor PEM",
				`{"keys":[` + s.jwk(t, "x") + `]}`:      "a set of keys; one key must be there alone",
				s.public + newSigner(t, "ES256").public: "more than one key; it must be there alone",
				"-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n":       "a private key, which signs; give the public key alone (openssl pkey -pubout)",
				`{"kty":"OKP","crv":"Ed25519","x":"CANARY-1c3a9e","d":"CANARY-1c3a9e-11"}`: "a private key, which signs",
			} {
				b.do(t, "stage", "--from", from(t, text)).want(t, 1, "--from /", says)
			}
			if b.bytes(t) != before {
				t.Error("refused, and changed all the same")
			}
		})
	}
	// The same name and algorithm twice would be ambiguous: nothing is written.
	dir := path(t.TempDir())
	put(t, filepath.Join(string(dir), "key"), s.jwk(t, "same"))
	before := dir.bytes(t)
	dir.do(t, "stage", "--from", from(t, newSigner(t, "ES256").jwk(t, "same"))).want(t, 1, "the same kid and algorithm as")
	if dir.bytes(t) != before {
		t.Error("refused, and changed all the same")
	}
	put(t, filepath.Join(string(dir), "key"), "CANARY-1c3a9e")
	for _, step := range []string{"stage", "promote", "retire", "revoke", "now", "status"} {
		dir.do(t, step).want(t, 1, string(dir)+"/key: an HMAC secret of 13 bytes")
	}
}

// Signed tokens are revoked by their own names, and names keep their form.
func TestRevokeByName(t *testing.T) {
	s := map[string]signer{"one": newSigner(t, "EdDSA"), "two": newSigner(t, "EdDSA")}
	for name, b := range keyBenches(t, "key", s["one"].jwk(t, "2031 a")) {
		t.Run(name, func(t *testing.T) {
			b.do(t, "revoke", "--jti", "id 7").want(t, 0, "revoked jti id 7")
			b.do(t, "revoke", "--kid", "2029").want(t, 0, "revoked kid 2029")
			after := b.bytes(t)
			b.do(t, "revoke", "--jti", "id 7").want(t, 0, "nothing changed: jti id 7 is revoked already")
			if got := keys(t, b)["revoked"]; got != "jti id 7\nkid 2029\n" || b.bytes(t) != after {
				t.Errorf("%q", got)
			}
			b.do(t, "revoke", "--kid", "2031 a").want(t, 1, "is the current key and none is staged to take its place")
			b.do(t, "stage", "--from", from(t, s["two"].jwk(t, "2032"))).want(t, 0)
			b.do(t, "revoke", "--kid", "2031 a").want(t, 0, s["two"].fingerprint()+", which was staged, is current")
			b.do(t, "revoke", "--forget", "kid 2029").want(t, 0)
			b.do(t, "revoke", "--forget", "jti id 7").want(t, 0)
			if got := keys(t, b)["revoked"]; got != "kid 2031 a\n" {
				t.Errorf("%q", got)
			}
			b.do(t, "stage", "--from", from(t, s["one"].jwk(t, "2031 a"))).want(t, 1, "the key "+s["one"].fingerprint()+" is revoked")
			b.do(t, "revoke", "--kid", "2032", "--force").want(t, 0, "warning: ", "none takes its place")
			b.do(t, "status").want(t, 1, "bad: the current key is revoked")
			b.do(t, "revoke", "--forget", "kid 2032").want(t, 1, "would let it in again; replace the key first")
			b.do(t, "revoke", "--from", from(t, s["one"].public)).want(t, 0, "revoked "+s["one"].fingerprint())
			for _, bad := range []string{"a\nb", " a", "a ", "a\x00b", "\t"} {
				b.do(t, "revoke", "--jti", bad).want(t, 2, "--jti must be a name on one line")
				b.do(t, "revoke", "--kid", bad).want(t, 2, "--kid must be a name on one line")
			}
		})
	}
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "revoke", "--jti", "x").want(t, 2, "--kid and --jti go with verification keys")
		b.do(t, "retire", "--key", "x").want(t, 2, "--key goes with key sets; here retire takes out the previous token")
	})
}
