package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/secret"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "CANARY-5ec2e7-0001"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func parse(t *testing.T, text string) *secret.Secret {
	t.Helper()
	s, err := secret.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is not changed keeps its bytes: unknown members, numbers that no float
// holds, escapes, order and white space.
func TestWithChangesNothingElse(t *testing.T) {
	const head = "\n{ \"kind\" :\"Secret\",\"apiVersion\": \"v1\", \"unknown\": [1E400, 12345678901234567890, {\"\\u0061\": \"\\u00e9\\/\"}],\n"
	const tail = `  "metadata": {"resourceVersion":"7","name":"n", "labels": {}, "x": null} ,"type":"Opaque"}` + "\n\n"
	for name, c := range map[string]struct {
		in   string
		edit content.KeyEdit
		out  string
	}{
		"add": {
			"\"data\": {\n  \"token\": \"QQ==\",\n  \"foreign\": \"!not base64!\"\n },\n",
			content.KeyEdit{"token-next": []byte("B")},
			"\"data\": {\n  \"token\": \"QQ==\",\n  \"foreign\": \"!not base64!\",\n  \"token-next\": \"Qg==\"\n },\n",
		},
		"add to one": {`"data": { "token": "QQ==" },`, content.KeyEdit{"token-next": []byte("B")}, `"data": { "token": "QQ==", "token-next": "Qg==" },`},
		"set":        {`"data" : {"token" :  "QQ==" ,"z":"eg=="},`, content.KeyEdit{"token": []byte("B")}, `"data" : {"token" :  "Qg==" ,"z":"eg=="},`},
		"escaped key": {
			`"data":{"\u0074oken":"QQ=="},`, content.KeyEdit{"token": []byte("B")}, `"data":{"\u0074oken":"Qg=="},`,
		},
		"remove first": {`"data": {"token-next": "QQ==", "z": "eg=="},`, content.KeyEdit{"token-next": nil}, `"data": { "z": "eg=="},`},
		"remove last":  {`"data": {"z": "eg==" , "token-next": "QQ=="},`, content.KeyEdit{"token-next": nil}, `"data": {"z": "eg==" },`},
		"remove all":   {`"data": {"token-next": "QQ=="},`, content.KeyEdit{"token-next": nil}, `"data": {},`},
		"from stringData to data": {
			`"stringData": {"token-next":"B", "z": "z"}, "data": {"token": "QQ=="},`,
			content.KeyEdit{"token": []byte("B"), "token-next": nil},
			`"stringData": { "z": "z"}, "data": {"token": "Qg=="},`,
		},
		"wins over data": {
			`"data": {"token": "QQ=="}, "stringData": {"token":"C"},`,
			content.KeyEdit{"token": []byte("B")},
			`"data": {"token": "Qg=="}, "stringData": {},`,
		},
		"data is null": {`"data": null,`, content.KeyEdit{"token": []byte("B")}, `"data": {"token": "Qg=="},`},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, head+c.in+tail).With(c.edit)
			if string(got) != head+c.out+tail {
				t.Errorf("got\n%s\nwant\n%s", got, head+c.out+tail)
			}
			s := parse(t, string(got))
			for key, want := range c.edit {
				if have, ok := s.Keys()[key]; ok != (want != nil) || !bytes.Equal(have, want) {
					t.Errorf("%s reads back as %q", key, have)
				}
			}
		})
	}
	// Without data at all there is no place to keep.
	got := parse(t, `{"apiVersion":"v1","kind":"Secret","stringData":{"token":"A"}}`).With(content.KeyEdit{"token-next": []byte("B")})
	if want := `{"apiVersion":"v1","kind":"Secret","stringData":{"token":"A"},"data": {"token-next": "Qg=="}}`; string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestKeysAreMergedAsTheAPIServerDoes(t *testing.T) {
	s := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"n","namespace":"ns"},
		"data":{"token":"QUFB\n","token-next":"QkI=","token-revoked":null,"other":"b3Ro"},"stringData":{"token-next":"\u0043","other":1}}`)
	want := map[string][]byte{"token": []byte("AAA"), "token-next": []byte("C"), "token-revoked": {}}
	if !maps.EqualFunc(s.Keys(), want, bytes.Equal) || s.Name != "ns/n" {
		t.Errorf("%q %q", s.Keys(), s.Name)
	}
}

func TestParseRefuses(t *testing.T) {
	const ok = `"apiVersion":"v1","kind":"Secret"`
	deep := strings.Repeat("[", 80) + strings.Repeat("]", 80)
	for name, c := range map[string]struct{ text, says string }{
		"nothing":                   {"", "not one JSON document"},
		"no JSON":                   {canary, "kubectl get secret NAME -o json"},
		"YAML":                      {"kind: Secret\n", "not one JSON document"},
		"a list":                    {"[]", "not one JSON document"},
		"cut short":                 {`{` + ok + `,"data":{"token":"` + canary, "not one JSON document"},
		"trailing data":             {`{` + ok + `}{}`, "not one JSON document"},
		"a trailing comma":          {`{` + ok + `,}`, "not one JSON document"},
		"bad UTF-8":                 {`{` + ok + `,"x":"` + "\xff" + `"}`, "not one JSON document"},
		"twice":                     {`{` + ok + `,"data":{"token":"` + canary + `","token":""}}`, "names a member twice"},
		"twice, escaped":            {`{` + ok + `,"data":{"token":"","\u0074oken":""}}`, "names a member twice"},
		"twice in what is not ours": {`{` + ok + `,"x":[{"a":1,"a":1}]}`, "names a member twice"},
		"twice at the top":          {`{` + ok + `,"kind":"Secret"}`, "names a member twice"},
		"deep":                      {`{` + ok + `,"x":` + deep + `}`, "deep"},
		"a Secret list":             {`{"apiVersion":"v1","kind":"List","items":[]}`, "name one Secret"},
		"a ConfigMap":               {`{"apiVersion":"v1","kind":"ConfigMap"}`, "is no Kubernetes Secret"},
		"another Secret":            {`{"apiVersion":"example.com/v1","kind":"Secret"}`, "is no Kubernetes Secret"},
		"kind in other case":        {`{"apiVersion":"v1","Kind":"Secret"}`, "is no Kubernetes Secret"},
		"data no object":            {`{` + ok + `,"data":["` + canary + `"]}`, "data is no object"},
		"stringData":                {`{` + ok + `,"stringData":"` + canary + `"}`, "stringData is no object"},
		"no base64":                 {`{` + ok + `,"data":{"token":"` + canary + `"}}`, "data.token is no base64"},
		"no string":                 {`{` + ok + `,"stringData":{"token":17}}`, "stringData.token is no string"},
		"immutable no bool":         {`{` + ok + `,"immutable":"` + canary + `"}`, "immutable has not the form"},
		"metadata":                  {`{` + ok + `,"metadata":{"annotations":"` + canary + `"}}`, "metadata has not the form"},
		"too large":                 {`{` + ok + `,"x":"` + strings.Repeat("x", secret.MaxBytes) + `"}`, "more than a Secret can be"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secret.Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%v; want %q", err, c.says)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	keys := map[string][]byte{"token": []byte(canary), "token-previous": []byte("old")}
	annotated := func(manifest string) string {
		text, _ := json.Marshal(manifest)
		return `"annotations":{"kubectl.kubernetes.io/last-applied-configuration":` + string(text) + `}`
	}
	for name, c := range map[string]struct {
		metadata string
		want     []string // "" stands for no warning
	}{
		"none":             {`"resourceVersion":"1"`, nil},
		"no version":       {``, []string{"no metadata.resourceVersion"}},
		"deleting":         {`"resourceVersion":"1","deletionTimestamp":"2031-01-01T00:00:00Z"`, []string{"is being deleted"}},
		"owned":            {`"resourceVersion":"1","ownerReferences":[{"kind":"A"},{"kind":"ExternalSecret","controller":true}]`, []string{`kind "ExternalSecret"`}},
		"apply undoes":     {`"resourceVersion":"1",` + annotated(`{"data":{"token":"`+b64(canary+"2")+`","x":"eA=="}}`), []string{"carries token with other content"}},
		"apply revives":    {`"resourceVersion":"1",` + annotated(`{"stringData":{"token-next":"`+canary+`"}}`), []string{"carries token-next with"}},
		"apply, broken":    {`"resourceVersion":"1",` + annotated(`{"data":{"token":"`+canary+`!"}}`), []string{"carries token with"}},
		"apply agrees":     {`"resourceVersion":"1",` + annotated(`{"data":{"token":"`+b64(canary)+`"}}`), nil},
		"apply agrees too": {`"resourceVersion":"1",` + annotated(`{"data":{"token":"eA=="},"stringData":{"token":"`+canary+`"}}`), nil},
		"apply elsewhere":  {`"resourceVersion":"1",` + annotated(`{"data":{"x":"eA=="}}`), nil},
		"apply of nothing": {`"resourceVersion":"1",` + annotated(canary), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{`+c.metadata+`}}`).Warnings(keys)
			text := strings.Join(got, "\n")
			if len(got) != len(c.want) || strings.Contains(text, "CANARY") || strings.Contains(text, b64(canary)[:12]) {
				t.Fatalf("%q", got)
			}
			for i := range got {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("%q; want %q", got[i], c.want[i])
				}
			}
		})
	}
}

// FuzzSecret: what is taken reads back with the edit made and nothing else
// changed.
func FuzzSecret(f *testing.F) {
	for _, text := range []string{
		`{"apiVersion":"v1","kind":"Secret","data":{"token":"QQ=="}}`,
		"\n{ \"apiVersion\" : \"v1\", \"kind\":\"Secret\",\t\"data\":{ \"a\":\"\" , \"token-next\":null},\"stringData\":{\"token\":\"x\" },\"n\":[1e3,{\"\":{}}] } ",
		`{"kind":"Secret","apiVersion":"v1","data":null,"stringData":{},"metadata":{"annotations":{"a":"\"\\"}}}`,
		`{"kind":"List"}`, `[]`, `{`, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"\\ud800\":1}",
	} {
		f.Add([]byte(text), []byte("next"), uint8(1))
		f.Add([]byte(text), []byte{}, uint8(9))
	}
	f.Fuzz(func(t *testing.T, text, value []byte, which uint8) {
		s, err := secret.Parse(text)
		if err != nil {
			if s != nil {
				t.Fatal("an error, and a Secret all the same")
			}
			return
		}
		edit := content.KeyEdit{}
		for i, key := range verify.Keys() {
			switch which >> i & 1 {
			case 1:
				edit[key] = append([]byte{}, value...)
			default:
				if which >= 128 {
					edit[key] = nil
				}
			}
		}
		out := s.With(edit)
		again, err := secret.Parse(out)
		if err != nil {
			t.Fatalf("%v\n%q\n%q", err, text, out)
		}
		want := edit.Apply(s.Keys())
		if !maps.EqualFunc(again.Keys(), want, bytes.Equal) {
			t.Fatalf("%q reads back as %q, not %q", out, again.Keys(), want)
		}
		if before, after := foreign(t, text), foreign(t, out); !reflect.DeepEqual(before, after) {
			t.Fatalf("foreign members were\n%v\nare\n%v", before, after)
		}
		if len(edit) == 0 && !bytes.Equal(text, out) {
			t.Fatalf("an empty edit changes\n%q\n%q", text, out)
		}
	})
}

// foreign returns all that is not ours, numbers as they are written.
func foreign(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, raw := range top {
		var values map[string]json.RawMessage
		if name != "data" && name != "stringData" || json.Unmarshal(raw, &values) != nil {
			out[name] = string(raw)
			continue
		}
		for _, key := range verify.Keys() {
			delete(values, key)
		}
		for key, raw := range values {
			out[name+"/"+key] = string(raw)
		}
	}
	return out
}

// The name goes into texts for a terminal, and is text there.
func TestNameIsText(t *testing.T) {
	s, err := secret.Parse([]byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"\u001b[2J","name":"a\nb\u202e"}}`))
	if err != nil || s.Name != `\u001b[2J/a\u000ab\u202e` {
		t.Errorf("%q, %v", s.Name, err)
	}
}
