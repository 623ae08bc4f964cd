package content_test

import (
	"bytes"
	"encoding/json"
	"reflect"
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

// FuzzEditSet: a key can be added to any key set that parses, and each key taken out again.
// All other members keep their values.
func FuzzEditSet(f *testing.F) {
	for _, text := range []string{
		`{"keys":[` + jwkB + `]}`, "\ufeff{ \"x\":[1,{\"keys\":[ ]}] ,\n\"keys\" :\r\n[\n  " + jwkB + " \n] ,\"y\":1E400}\n",
		`{"keys":[` + jwkB + `, ` + strings.Replace(jwkB, `"1"`, `"2"`, 1) + `]}`,
		`{"\u006beys":[` + jwkB + `]}`, `{"Keys":[],"keys":[` + strings.Replace(jwkB, "{", `{"a,]}":"\"]",`, 1) + `]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		have, err := parse(text, content.Keys)
		if err != nil || !have.IsKeySet {
			return
		}
		one, err := parse([]byte(jwkA), content.Keys)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(have.Listed, func(k content.Credential) bool { return k.ID() == one.Current.ID() }) {
			return
		}
		want := have.Clone()
		want.Listed = append(want.Listed, one.Current)
		more, err := edit(have, want)
		if err != nil {
			t.Fatalf("%v\n%q", err, text)
		}
		longer, err := parse(more, content.Keys)
		if err != nil {
			t.Fatal(err)
		}
		back, err := edit(longer, have.Content)
		if err != nil || !reflect.DeepEqual(members(t, back), members(t, text)) {
			t.Fatalf("%v\n%q\nbecame %q\nand %q", err, text, more, back)
		}
		only := have.Clone()
		only.Listed = []content.Credential{one.Current}
		if _, err := edit(longer, only); err != nil {
			t.Fatalf("%v\n%q", err, more)
		}
	})
}

// members returns the members of a JSON object, with numbers as they are written.
func members(t *testing.T, text []byte) (all map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// A key that a set has with two kids is removed from both places. A set in which no key
// comes or goes keeps its bytes.
func TestKeyWithTwoNamesIsRemovedWhole(t *testing.T) {
	again := strings.Replace(jwkB, `"1"`, `"2"`, 1)
	text := `{"keys":[` + jwkB + `, ` + jwkA + `, ` + again + `]}`
	have, err := parse([]byte(text), content.Keys)
	if err != nil || len(have.Listed) != 2 {
		t.Fatalf("%d keys, %v", len(have.Listed), err)
	}
	if got, err := edit(have, have.Content); err != nil || string(got) != text {
		t.Errorf("%v\n%s", err, got)
	}
	for i, want := range []string{`{"keys":[` + jwkB + `, ` + again + `]}`, `{"keys":[ ` + jwkA + `]}`} {
		keep := have.Clone()
		keep.Listed = keep.Listed[i : i+1]
		if got, err := edit(have, keep); err != nil || !reflect.DeepEqual(members(t, got), members(t, []byte(want))) {
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
