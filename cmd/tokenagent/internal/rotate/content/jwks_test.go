package content_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// Two keys of RFC 8037 appendix A.2 and RFC 7517 appendix A.1.
const (
	jwkA = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	jwkB = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}`
)

var keyOptions = content.Options{Kind: content.Keys}

// FuzzEditSet: to whatever key set parses a key can be added, and each taken out
// again, and what stands before and behind the keys does not change.
func FuzzEditSet(f *testing.F) {
	for _, text := range []string{
		`{"keys":[` + jwkB + `]}`, "\ufeff{ \"x\":[1,{\"keys\":[ ]}] ,\n\"keys\" :\r\n[\n  " + jwkB + " \n] ,\"y\":1E400}\n",
		`{"keys":[` + jwkB + `, ` + strings.Replace(jwkB, `"1"`, `"2"`, 1) + `]}`,
		`{"\u006beys":[` + jwkB + `]}`, `{"Keys":[],"keys":[` + strings.Replace(jwkB, "{", `{"a,]}":"\"]",`, 1) + `]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		have, err := content.ParseKeyFile(text, keyOptions)
		if err != nil || !have.Set {
			return
		}
		one, err := content.ParseKeyFile([]byte(jwkA), keyOptions)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(have.Listed, func(k content.Credential) bool { return k.ID() == one.Current.ID() }) {
			return
		}
		want := have.Clone()
		want.Listed = append(want.Listed, one.Current)
		more, err := content.EditSet(text, want, keyOptions)
		if err != nil {
			t.Fatalf("%v\n%q", err, text)
		}
		back, err := content.EditSet(more, have, keyOptions)
		if err != nil || string(back) != string(text) {
			t.Fatalf("%v\n%q\nbecame %q\nand %q", err, text, more, back)
		}
		want.Listed = want.Listed[len(want.Listed)-1:]
		if _, err := content.EditSet(more, want, keyOptions); err != nil {
			t.Fatalf("%v\n%q", err, more)
		}
	})
}

// TestKeyWithTwoNamesLeavesWhole: a key that a set has under two kids goes from both
// places, and the other keys keep their bytes.
func TestKeyWithTwoNamesLeavesWhole(t *testing.T) {
	again := strings.Replace(jwkB, `"1"`, `"2"`, 1)
	text := `{"keys":[` + jwkB + `, ` + jwkA + `, ` + again + `]}`
	have, err := content.ParseKeyFile([]byte(text), keyOptions)
	if err != nil || len(have.Listed) != 2 {
		t.Fatalf("%d keys, %v", len(have.Listed), err)
	}
	for i, want := range []string{`{"keys":[` + jwkB + `, ` + again + `]}`, `{"keys":[ ` + jwkA + `]}`} {
		keep := have.Clone()
		keep.Listed = keep.Listed[i : i+1]
		if got, err := content.EditSet([]byte(text), keep, keyOptions); err != nil || string(got) != want {
			t.Errorf("%v\n%s\nwant %s", err, got, want)
		}
	}
}

func TestRevocation(t *testing.T) {
	for kind, is := range map[content.Kind]map[string]bool{
		content.Keys:   {hexA: true, "kid a b": true, "jti x": true, "x": false, "": false, "#": false, hexA + "\n" + digest(b): false},
		content.Tokens: {hexA: true, "revoked " + hexA: true, "kid a": false, "": false},
	} {
		for text, want := range is {
			if _, ok := content.Revocation(text, kind); ok != want {
				t.Errorf("%s of %s: %t", text, kind, ok)
			}
		}
	}
}
