package store

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/token"
)

const canary = "CANARY-5ec2e7-0001"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func parse(t *testing.T, text string) *secret {
	t.Helper()
	d, err := parseSecrets([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d.all[0]
}

// edit returns the document text with edit made in its first Secret.
func edit(t *testing.T, text string, edit edits) string {
	t.Helper()
	d, err := parseSecrets([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.edit(append(writes(edit), make([][]content.Write, len(d.all)-1)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// compact is text without white space between its parts.
func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What is not changed keeps its value: unknown members, numbers that no float
// holds, escapes.
func TestWithChangesNothingElse(t *testing.T) {
	const unknown = `"unknown": [1E400, 12345678901234567890, {"\u0061": "\u00e9\/<&>"}]`
	const head = `{"kind" :"Secret","apiVersion": "v1", "metadata": {"resourceVersion":"7","name":"n", "labels": {}, "x": null},` + unknown + ","
	for name, c := range map[string]struct {
		in   string
		edit edits
		out  string
	}{
		"add":          {`"data": {"token": "QQ==", "foreign": "!not base64!"}`, edits{"token-next": []byte("B")}, `"data":{"foreign":"!not base64!","token":"QQ==","token-next":"Qg=="}`},
		"set":          {`"data": {"token" :  "QQ==" ,"z":"eg=="}`, edits{"token": []byte("B")}, `"data":{"token":"Qg==","z":"eg=="}`},
		"escaped key":  {`"data":{"\u0074oken":"QQ=="}`, edits{"token": []byte("B")}, `"data":{"token":"Qg=="}`},
		"remove":       {`"data": {"token-next": "QQ==", "z": "eg=="}`, edits{"token-next": nil}, `"data":{"z":"eg=="}`},
		"remove all":   {`"data": {"token-next": "QQ=="}`, edits{"token-next": nil}, `"data":{}`},
		"data is null": {`"data": null`, edits{"token": []byte("B")}, `"data":{"token":"Qg=="}`},
		"no data":      {`"type":"Opaque"`, edits{"token-next": []byte("B")}, `"data":{"token-next":"Qg=="},"type":"Opaque"`},
		"from stringData to data": {
			`"stringData": {"token-next":"B", "z": "z"}, "data": {"token": "QQ=="}`,
			edits{"token": []byte("B"), "token-next": nil},
			`"data":{"token":"Qg=="},"stringData":{"z":"z"}`,
		},
		"wins over data": {`"data": {"token": "QQ=="}, "stringData": {"token":"C"}`, edits{"token": []byte("B")}, `"data":{"token":"Qg=="},"stringData":{}`},
	} {
		t.Run(name, func(t *testing.T) {
			text := edit(t, head+c.in+"}", c.edit)
			var got, want map[string]json.RawMessage
			if err := json.Unmarshal([]byte(compact(t, text)), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(compact(t, head+c.out+"}")), &want); err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			s := parse(t, text)
			for key, want := range c.edit {
				if have, ok := s.keys[key]; ok != (want != nil) || !bytes.Equal(have, want) {
					t.Errorf("%s reads back as %q", key, have)
				}
			}
		})
	}
	const same = " " + head + `"data" : {}}` + "\n\n"
	if got := edit(t, same, nil); got != same {
		t.Errorf("an empty edit changes bytes: %s", got)
	}
}

const annotation = "kubectl.kubernetes.io/last-applied-configuration"

// kubectl replace would write the whole Secret into the annotation that kubectl
// apply left, and the next apply of the unchanged manifest would delete our keys.
func TestLastAppliedIsDropped(t *testing.T) {
	one := func(name string) string {
		return `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name + `","uid":"u","resourceVersion":"4","labels":{"l":"1"},"annotations":{"` + annotation + `":"{}","other":"<kept>"}},"data":{"token":"QQ=="}}`
	}
	want := func(name string) string {
		return strings.Replace(one(name), `"`+annotation+`":"{}",`, "", 1)
	}
	for in, out := range map[string]string{
		one("a"): want("a"),
		`{"apiVersion":"v1","kind":"List","items":[` + one("a") + `,` + one("b") + `],"metadata":{"resourceVersion":""}}`: `{"apiVersion":"v1","kind":"List","items":[` + want("a") + `,` + want("b") + `],"metadata":{"resourceVersion":""}}`,
	} {
		for _, e := range []edits{nil, {"token": []byte("A")}} {
			var got, want any
			if json.Unmarshal([]byte(edit(t, in, e)), &got) != nil || json.Unmarshal([]byte(out), &want) != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		}
	}
}

func TestLists(t *testing.T) {
	const a = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"token":"QQ=="}}`
	for name, c := range map[string]struct {
		text string
		n    int
		says string
	}{
		"two":          {`{"apiVersion":"v1","kind":"List","items":[` + a + `,` + a + `]}`, 2, ""},
		"one":          {`{"apiVersion":"v1","kind":"List","items":[` + a + `]}`, 1, ""},
		"raw":          {`{"apiVersion":"v1","kind":"SecretList","items":[{"metadata":{"name":"a"},"data":{}}]}`, 0, "is no Kubernetes Secret"},
		"empty":        {`{"apiVersion":"v1","kind":"List","items":[]}`, 0, "the list on standard input is empty"},
		"null":         {`{"apiVersion":"v1","kind":"List","items":null}`, 0, "the list on standard input is empty"},
		"no items":     {`{"apiVersion":"v1","kind":"List"}`, 0, "is no Kubernetes Secret"},
		"no object":    {`{"apiVersion":"v1","kind":"List","items":["` + canary + `"]}`, 0, "is no Kubernetes Secret"},
		"untyped":      {`{"apiVersion":"v1","kind":"List","items":[{"metadata":{}}]}`, 0, "item 1 of the list"},
		"a ConfigMap":  {`{"apiVersion":"v1","kind":"List","items":[` + a + `,{"apiVersion":"v1","kind":"ConfigMap"}]}`, 0, "item 2 of the list"},
		"other":        {`{"apiVersion":"x/v1","kind":"List","items":[` + a + `]}`, 0, "is no Kubernetes Secret"},
		"bad":          {`{"apiVersion":"v1","kind":"List","items":[` + a + `,` + strings.Replace(a, "QQ==", canary, 1) + `]}`, 0, "secret a: data.token is no base64"},
		"list of list": {`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[` + a + `]}]}`, 0, "item 1 of the list"},
	} {
		d, err := parseSecrets([]byte(c.text))
		switch {
		case c.says == "" && (err != nil || len(d.all) != c.n || d.list == nil):
			t.Errorf("%s: %v", name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY")):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysAreMergedAsTheAPIServerDoes(t *testing.T) {
	s := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"n","namespace":"ns"},
		"data":{"token":"QUFB\n","token-next":"QkI=","token-revoked":null,"other":"b3Ro"},"stringData":{"token-next":"\u0043","other":1}}`)
	want := map[string][]byte{"token": []byte("AAA"), "token-next": []byte("C"), "token-revoked": {}}
	if !maps.EqualFunc(s.keys, want, bytes.Equal) || s.name != "ns/n" {
		t.Errorf("%q %q", s.keys, s.name)
	}
}

func TestParseRefuses(t *testing.T) {
	const ok = `"apiVersion":"v1","kind":"Secret"`
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
		"a ConfigMap":               {`{"apiVersion":"v1","kind":"ConfigMap"}`, "is no Kubernetes Secret"},
		"another Secret":            {`{"apiVersion":"example.com/v1","kind":"Secret"}`, "is no Kubernetes Secret"},
		"kind in other case":        {`{"apiVersion":"v1","Kind":"Secret"}`, "is no Kubernetes Secret"},
		"data no object":            {`{` + ok + `,"data":["` + canary + `"]}`, "data is no object"},
		"stringData":                {`{` + ok + `,"stringData":"` + canary + `"}`, "stringData is no object"},
		"no base64":                 {`{` + ok + `,"data":{"token":"` + canary + `"}}`, "data.token is no base64"},
		"no string":                 {`{` + ok + `,"stringData":{"token":17}}`, "stringData.token is no string"},
		"immutable no bool":         {`{` + ok + `,"immutable":"` + canary + `"}`, "immutable has not the form"},
		"metadata":                  {`{` + ok + `,"metadata":{"annotations":"` + canary + `"}}`, "metadata has not the form"},
		"too large":                 {`{` + ok + `,"x":"` + strings.Repeat("x", maxSecrets) + `"}`, "too much for Secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSecrets([]byte(c.text))
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
		"owned":            {`"resourceVersion":"1","ownerReferences":[{"kind":"A"},{"kind":"B","controller":true}]`, []string{`kind "B"`}},
		"apply names ours": {`"resourceVersion":"1",` + annotated(`{"data":{"token":"`+b64(canary)+`","x":"eA=="}}`), []string{"managed by kubectl apply"}},
		"apply, in text":   {`"resourceVersion":"1",` + annotated(`{"data":{"token":"eA=="},"stringData":{"token-next":"`+canary+`"}}`), []string{"puts back token, token-next as in"}},
		"apply elsewhere":  {`"resourceVersion":"1",` + annotated(`{"data":{"x":"eA=="}}`), nil},
		"apply of nothing": {`"resourceVersion":"1",` + annotated(canary), nil},
		"no labels":        {`"resourceVersion":"1","labels":null,"annotations":null,"ownerReferences":null`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{`+c.metadata+`}}`).warnings(keys)
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

// Every tool that writes Secrets from somewhere else is named, with what it will
// do and what to do instead.
func TestManagers(t *testing.T) {
	for metadata, want := range map[string][]string{
		`"labels":{"argocd.argoproj.io/instance":"x"}`:                                                                              {"Argo CD (label argocd.argoproj.io/instance)", "ignoreDifferences"},
		`"annotations":{"argocd.argoproj.io/tracking-id":"x"}`:                                                                      {"Argo CD (annotation argocd.argoproj.io/tracking-id)", "when it syncs"},
		`"labels":{"kustomize.toolkit.fluxcd.io/name":"x","kustomize.toolkit.fluxcd.io/namespace":"x"}`:                             {"Flux (kustomize-controller) (label kustomize.toolkit.fluxcd.io/name)", "old token back", "reconcile: disabled"},
		`"labels":{"helm.toolkit.fluxcd.io/name":"x"}`:                                                                              {"Flux (helm-controller)", "HelmRelease"},
		`"labels":{"app.kubernetes.io/managed-by":"Helm"},"annotations":{"meta.helm.sh/release-name":"x"}`:                          {"by Helm (label app.kubernetes.io/managed-by)", "helm upgrade"},
		`"labels":{"reconcile.external-secrets.io/created-by":"x"},"ownerReferences":[{"kind":"ExternalSecret","controller":true}]`: {"External Secrets (its owner is of kind ExternalSecret)", "rotate in the store"},
		`"annotations":{"reconcile.external-secrets.io/data-hash":"x"}`:                                                             {"External Secrets (annotation reconcile", "rotate in the store"},
		`"labels":{"secrets.hashicorp.com/vso-ownerRefUID":"x","app.kubernetes.io/managed-by":"hashicorp-vso"}`:                     {"the Vault Secrets Operator (label", "rotate in Vault"},
		`"ownerReferences":[{"kind":"SealedSecret","controller":true}]`:                                                             {"Sealed Secrets", "kubeseal"},
		`"annotations":{"sealedsecrets.bitnami.com/managed":"true"}`:                                                                {"Sealed Secrets", "kubeseal"},
		`"ownerReferences":[{"kind":"Whatever","controller":true}]`:                                                                 {`of kind "Whatever"`, "rotate where the controller takes"},
		`"ownerReferences":[{"kind":"Whatever"}],"labels":{"app.kubernetes.io/managed-by":"me"}`:                                    nil,
		`"labels":{"kustomize.toolkit.fluxcd.io/name":"x"},"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}`:      nil,
	} {
		got := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"1",`+metadata+`}}`).warnings(nil)
		if want == nil && len(got) > 0 || want != nil && len(got) != 1 {
			t.Errorf("%s: %q", metadata, got)
			continue
		}
		for _, text := range want {
			if !strings.Contains(got[0], text) {
				t.Errorf("%s: %q; want %q", metadata, got, text)
			}
		}
	}
}

func TestWarnsOfANewlineThatDaprdSends(t *testing.T) {
	const newline, space = "has a newline beside the token", "has white space beside the token"
	for _, c := range []struct{ value, want string }{
		{"A-token", ""},
		{"", ""},
		{"\n", ""},
		{"A-token\n", newline},
		{"A-token\r\n", newline},
		{"\nA-token", newline},
		{"A-token ", space},
		{"\xef\xbb\xbfA-token", space},
	} {
		value, want := c.value, c.want
		got := strings.Join(parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"1"}}`).warnings(map[string][]byte{"token": []byte(value)}), "")
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "A-token") {
			t.Errorf("%q: %q", value, got)
		}
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
		d, err := parseSecrets(text)
		if err != nil {
			if d != nil {
				t.Fatal("an error, and a Secret all the same")
			}
			return
		}
		if d.list != nil {
			return
		}
		s := d.all[0]
		edit := edits{}
		for i, key := range token.FileNames() {
			switch which >> i & 1 {
			case 1:
				edit[key] = append([]byte{}, value...)
			default:
				if which >= 128 {
					edit[key] = nil
				}
			}
		}
		out, err := d.edit(writes(edit))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := parseSecrets(out)
		if err != nil {
			t.Fatalf("%v\n%q\n%q", err, text, out)
		}
		again := doc.all[0]
		want := content.Source{Keys: s.keys}.After(writes(edit)[0])
		if !maps.EqualFunc(again.keys, want, bytes.Equal) {
			t.Fatalf("%q reads back as %q, not %q", out, again.keys, want)
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
		if name == "metadata" && bytes.Contains(raw, []byte("last-applied")) {
			continue
		}
		if name != "data" && name != "stringData" || json.Unmarshal(raw, &values) != nil {
			out[name] = compact(t, string(raw))
			continue
		}
		for _, key := range token.FileNames() {
			delete(values, key)
		}
		for key, raw := range values {
			out[name+"/"+key] = compact(t, string(raw))
		}
	}
	return out
}

// The name goes into texts for a terminal, and is text there.
func TestNameIsText(t *testing.T) {
	s := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"\u001b[2J","name":"a\nb\u202e"}}`)
	if s.name != `\u001b[2J/a\u000ab\u202e` {
		t.Errorf("%q", s.name)
	}
}
