package rotate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

func TestKeySetStepsCanBeRepeated(t *testing.T) {
	s := map[string]signer{"one": newSigner(t, "EdDSA"), "two": newSigner(t, "ES256"), "three": newSigner(t, "RS256"), "hmac": newSigner(t, "HS384")}
	text := "{\n  \"x\": 1E400,\n  \"keys\": [\n    " + s["one"].jwk(t, "2031") + "\n  ]\n}\n"
	for name, b := range keyBenches(t, "jwks.json", text) {
		t.Run(name, func(t *testing.T) {
			performKeys(
				t, b, s,
				line{"stage --from PUBLIC-two", "listed=one listed=two"},
				line{"stage --from PUBLIC-three", "listed=one listed=two listed=three"},
				line{"stage --key-algorithm HS384 --from PUBLIC-hmac", "listed=one listed=two listed=three listed=hmac"},
				line{"retire --key 2031", "listed=two listed=three listed=hmac"},
				line{"retire --key THUMB-hmac", "listed=two listed=three"},
				line{"retire --key PRINT-two", "listed=three"},
				line{"stage --from PUBLIC-one", "listed=three listed=one"},
				line{"retire --key THUMB-three", "listed=one"},
			)
			// Their names are their thumbprints, unless they had others.
			if got := keyContent(t, b).Listed[0].Key().KeyID(); got != s["one"].thumb() {
				t.Errorf("its name is %q", got)
			}
			b.do(t, "retire", "--key", s["one"].thumb()).want(t, 1, s["one"].fingerprint()+" is the last key that is accepted")
			b.do(t, "stage", "--from", from(t, s["two"].jwk(t, "2032"))).want(t, 0, `kid "2032"`)
			if have := keys(t, b); !strings.Contains(have["file"]+have["jwks.json"], "\n  \"x\": 1E400") {
				t.Errorf("another member has changed: %q", have)
			}
		})
	}
}

// No key of a set is current: promote writes nothing and says who acts.
func TestPromoteInAKeySet(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
	for name, b := range keyBenches(t, "jwks.json", `{"keys":[`+one.jwk(t, "")+`]}`) {
		t.Run(name, func(t *testing.T) {
			b.do(t, "stage", "--from", from(t, two.public)).want(t, 0)
			before := b.bytes(t)
			b.do(t, "promote").want(t, 0, "nothing changed: a key set has no current key: let signers change to the new one now")
			b.do(t, "promote", "--expect", two.fingerprint()).want(t, 0)
			b.do(t, "promote", "--expect", "00000000").want(t, 1, "00000000, as --expect says, is not accepted")
			b.do(t, "promote", "--agent", "http://127.0.0.1:1").want(t, 1, "no answer from the agent")
			b.do(t, "now").want(t, 1, "a key set has no current key; stage, wait")
			b.do(t, "retire").want(t, 2, "--key is missing")
			b.do(t, "retire", "--key", two.thumb(), "--agent", "http://127.0.0.1:1").want(t, 2, "--agent cannot tell")
			b.do(t, "retire", "--key", "CANARY-1c3a9e").want(t, 0, "the set has no key of that name; nothing to retire")
			b.do(t, "stage", "--replace", "--from", from(t, one.public)).want(t, 1, "nothing is replaced in it")
			b.do(t, "revoke").want(t, 2, "a key set has no slots")
			b.do(t, "revoke", "--slot", "previous").want(t, 2, "a key set has no slots")
			b.do(t, "status").want(t, 0, "listed  "+one.fingerprint()+", EdDSA", "next: promote, which asks receivers")
			if b.bytes(t) != before {
				t.Error("nothing to write, and changed all the same")
			}
		})
	}
}

func TestRevokeInAKeySet(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
	s := map[string]signer{"one": one, "two": two}
	for name, b := range keyBenches(t, "jwks.json", `{"keys":[`+one.jwk(t, "2031")+","+two.jwk(t, "2032")+`]}`) {
		t.Run(name, func(t *testing.T) {
			if have := keys(t, b); have["file"] != "" {
				b.do(t, "revoke", "--digest", one.thumb()).want(t, 1, "has no place for revocations; take a key out with retire --key")
				return
			}
			b.do(t, "revoke", "--digest", one.thumb()).want(t, 0, "revoked "+one.fingerprint())
			wantKeys(t, b, s, "listed=one listed=two revoked=one")
			b.do(t, "retire", "--key", "2032").want(t, 1, "the last key that is accepted")
			b.do(t, "revoke", "--kid", "2032").want(t, 1, "no key of the set would be accepted any more; stage another")
			b.do(t, "revoke", "--kid", "2032", "--force").want(t, 0, "warning: ", "all requests are refused")
			b.do(t, "status").want(t, 1, "bad: every key is revoked", "next: stage, at once")
			b.do(t, "stage", "--private-out", filepath.Join(t.TempDir(), "p")).want(t, 0)
			b.do(t, "retire", "--key", "2031").want(t, 0)
			b.do(t, "revoke", "--forget", one.thumb()).want(t, 0)
			b.do(t, "revoke", "--forget", "kid 2032").want(t, 1, "would let it in again")
			b.do(t, "status").want(t, 0, "good")
		})
	}
}

// Keys of several algorithms are no model for another.
func TestStageIntoAMixedSet(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "keys.json"))
	put(t, string(file), `{"keys":[`+newSigner(t, "EdDSA").jwk(t, "a")+","+newSigner(t, "ES256").jwk(t, "b")+","+newSigner(t, "ES384").jwk(t, "b")+`]}`)
	before := file.bytes(t)
	file.do(t, "stage", "--private-out", filepath.Join(t.TempDir(), "p")).want(t, 1, "keys of several algorithms; make a key yourself, and stage it with --from FILE")
	file.do(t, "retire", "--key", "b").want(t, 1, "2 keys have that name, ", "give the fingerprint of one")
	if file.bytes(t) != before {
		t.Error("refused, and changed all the same")
	}
}

// A file that holds a set keeps its mode, and all members that are not of the key that
// comes or goes.
func TestKeySetFile(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "ES256")
	name := filepath.Join(t.TempDir(), "jwks.json")
	put(t, name, "")
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	members := func(text string) (all map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	element := strings.Replace(one.jwk(t, "2031"), "{", `{ "x5t" : "é<&>" , "a,]}":[ {"}":"]"} ] ,`, 1)
	const around = "\ufeff{ \"a\" : [1 , {\"keys\":[ ]}],\r\n\"keys\" : [\r\n KEYS \r\n] , \"z\":null }\r\n"
	put(t, name, strings.Replace(around, "KEYS", element, 1))
	for _, c := range []struct {
		args []string
		keys string
	}{
		{[]string{"stage", "--from", from(t, two.jwk(t, "2032"))}, element + "," + two.jwk(t, "2032")},
		{[]string{"retire", "--key", "2031"}, two.jwk(t, "2032")},
	} {
		run(t, "", false, append(c.args, name)...).want(t, 0)
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := members(strings.Replace(around, "KEYS", c.keys, 1)); !reflect.DeepEqual(members(string(got)), want) {
			t.Errorf("got\n%s\nwant\n%v", got, want)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

func TestLooksLikeKeys(t *testing.T) {
	for text, want := range map[string]bool{`{"keys":[]}`: true, "{a-token-that-begins-so}": false, "\n" + newSigner(t, "ES256").public: true} {
		if content.LooksLikeKeys([]byte(text)) != want {
			t.Errorf("%q: not %t", text, want)
		}
	}
}

// An issuer may publish one key under several kid: each of them names it, and to
// revoke one revokes the key.
func TestAKeyOfSeveralNames(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "EdDSA")
	both := one.jwk(t, "2031") + "," + one.jwk(t, "alias")
	for name, b := range keyBenches(t, "jwks.json", `{"keys":[`+both+`]}`) {
		t.Run(name, func(t *testing.T) {
			b.do(t, "status").want(t, 0, `kid ["2031" "alias"]`)
			b.do(t, "status", "--output=json").want(t, 0, `"kid": "2031"`, `"kids": [`, `"alias"`)
			if keys(t, b)["file"] == "" {
				b.do(t, "revoke", "--kid", "alias").want(t, 1, "no key of the set would be accepted any more")
				b.do(t, "revoke", "--kid", "alias", "--force").want(t, 0, "all requests are refused")
				b.do(t, "status").want(t, 1, "bad: every key is revoked")
				b.do(t, "revoke", "--forget", "kid alias").want(t, 1, "would let it in again")
				b.do(t, "unrevoke", "--kid", "alias").want(t, 0)
			}
			b.do(t, "retire", "--key", "alias").want(t, 1, "is the last key that is accepted")
			b.do(t, "stage", "--from", from(t, two.jwk(t, "2032"))).want(t, 0)
			b.do(t, "retire", "--key", "alias").want(t, 0, "retired "+one.fingerprint())
			b.do(t, "retire", "--key", "alias").want(t, 0, "nothing to retire")
			wantKeys(t, b, map[string]signer{"one": one, "two": two}, "listed=two")
		})
	}
}
