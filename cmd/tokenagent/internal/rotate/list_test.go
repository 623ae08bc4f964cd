package rotate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A list is a List of Secrets as kubectl gets it, by namespace.
type list struct{ text string }

type listed struct {
	Metadata struct {
		Namespace   string
		Annotations map[string]string
	}
	Data map[string][]byte
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// applied is a Secret that kubectl apply made.
func applied(namespace, token string) string {
	manifest, _ := json.Marshal(fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","stringData":{"token":%q}}`, token))
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"t","namespace":%q,"resourceVersion":"4","uid":"u","annotations":{%q:%s,"mine":"kept"}},"data":{"token":%q}}`,
		namespace, lastApplied, manifest, b64(token))
}

func newList(secrets ...string) *list {
	return &list{`{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"items":[` + strings.Join(secrets, ",") + `]}`}
}

func b64(s string) string {
	b, _ := json.Marshal([]byte(s))
	return strings.Trim(string(b), `"`)
}

func (l *list) do(t *testing.T, step string, flags ...string) outcome {
	t.Helper()
	o := run(t, l.text, step != "status", append([]string{step}, flags...)...)
	switch {
	case step == "status" || slices.Contains(flags, "--dry-run"):
	case (o.code == 0) != (o.out != ""):
		t.Errorf("%s ends with %d and writes %q", step, o.code, o.out)
	case o.code == 0:
		l.text = o.out
	}
	return o
}

func (l *list) items(t *testing.T) []listed {
	t.Helper()
	var v struct {
		Kind  string
		Items []listed
	}
	if err := json.Unmarshal([]byte(l.text), &v); err != nil || v.Kind != "List" {
		t.Fatalf("%v in %s", err, l.text)
	}
	return v.Items
}

// slots renders what the agents' own parser makes of each Secret.
func (l *list) slots(t *testing.T) (out []string) {
	t.Helper()
	for _, s := range l.items(t) {
		if _, there := s.Metadata.Annotations[lastApplied]; there && s.Metadata.Annotations["mine"] != "kept" {
			t.Errorf("annotations %v", s.Metadata.Annotations)
		}
		got, err := token.ParseDir(s.Data, token.Options{})
		if err != nil {
			t.Fatal(err)
		}
		fields := []string{s.Metadata.Namespace}
		for _, d := range got.Decls {
			fields = append(fields, fmt.Sprintf("%s=%s", d.Slot, verify.Fingerprint(d.ID)))
		}
		out = append(out, strings.Join(fields, " "))
	}
	return out
}

func (l *list) want(t *testing.T, want ...string) {
	t.Helper()
	if got := l.slots(t); !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

// One token goes through all Secrets of a List, step by step.
func TestListRotatesByOneToken(t *testing.T) {
	l := newList(applied("a", one), applied("b", one))
	l.do(t, "stage", "--dry-run").want(t, 0, "secret a/t: dry run", "secret b/t: dry run, nothing written: staged a new token")
	l.do(t, "stage").want(t, 0, "secret a/t: staged ", "secret b/t: staged ", "warning: secret b/t: the Secret is managed by kubectl apply")
	staged := string(l.items(t)[0].Data["token-next"])
	p := fingerprint(staged)
	l.want(t, "a current="+fingerprint(one)+" next="+p, "b current="+fingerprint(one)+" next="+p)
	for _, s := range l.items(t) {
		if _, there := s.Metadata.Annotations[lastApplied]; there || s.Metadata.Annotations["mine"] != "kept" {
			t.Errorf("annotations %v", s.Metadata.Annotations)
		}
	}
	l.do(t, "stage").want(t, 0, "nothing changed: "+p+" is staged already")
	l.do(t, "promote", "--expect", p, "--overlap", "1h").want(t, 0, "secret b/t: promoted "+p)
	l.want(t, "a current="+p+" previous="+fingerprint(one), "b current="+p+" previous="+fingerprint(one))
	l.do(t, "retire").want(t, 0, "secret a/t: retired "+fingerprint(one), "secret b/t: retired "+fingerprint(one))
	l.want(t, "a current="+p, "b current="+p)
	l.do(t, "status").want(t, 0, "secret a/t: good", "secret b/t: good")

	l.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
	l.do(t, "revoke").want(t, 0, "revoked "+p)
	l.want(t, "a current="+fingerprint(two), "b current="+fingerprint(two))

	o := l.do(t, "stage", "--output=json")
	var rep struct {
		Schema  int
		Step    string
		Secrets []struct {
			Target  string
			Changed bool
			Next    []struct{ Fingerprint string }
		}
	}
	if err := json.Unmarshal([]byte(o.errOut), &rep); err != nil || len(rep.Secrets) != 2 {
		t.Fatalf("%v: %s", err, o.errOut)
	}
	if rep.Schema != 1 || rep.Step != "stage" {
		t.Errorf("schema %d, step %s", rep.Schema, rep.Step)
	}
	first, second := rep.Secrets[0], rep.Secrets[1]
	if second.Target != "secret b/t" || !second.Changed {
		t.Errorf("%s, changed %t", second.Target, second.Changed)
	}
	if first.Next[0] != second.Next[0] {
		t.Errorf("staged %v and %v", first.Next, second.Next)
	}
}

// A fingerprint names the same revocation for all Secrets of a List, also for those that do
// not have it: their agents may remember it.
func TestListUnrevokesByFingerprintEverywhere(t *testing.T) {
	l := newList(withKeys("a", two, `"token-revoked":"`+b64(id(one))+`"`), applied("b", two))
	l.do(t, "unrevoke", "--fingerprint", fingerprint(one)).want(t, 0, "secret a/t: "+fingerprint(one)+" is no longer revoked", "secret b/t: "+fingerprint(one)+" is no longer revoked")
	for _, s := range l.items(t) {
		if got := string(s.Data["token-unrevoked"]); got != id(one)+"\n" {
			t.Errorf("%s: token-unrevoked is %q", s.Metadata.Namespace, got)
		}
	}
}

// kubectl replace may have come through with some of the Secrets alone: the same
// step again brings the others to where they are.
func TestListIsCompletedByTheSameStep(t *testing.T) {
	l := newList(applied("a", one), applied("b", one))
	half := func(step string, flags ...string) {
		t.Helper()
		before := l.text
		l.do(t, step, flags...).want(t, 0)
		after := l.items(t)[0]
		l.text = before
		items := l.items(t)
		text, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"namespace": "a", "name": "t"}, "data": after.Data})
		rest, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"namespace": "b", "name": "t"}, "data": items[1].Data})
		l.text = newList(string(text), string(rest)).text
	}
	half("stage")
	p := fingerprint(string(l.items(t)[0].Data["token-next"]))
	l.want(t, "a current="+fingerprint(one)+" next="+p, "b current="+fingerprint(one))
	l.do(t, "stage").want(t, 0, "secret b/t: staged "+p)
	half("promote")
	l.want(t, "a current="+p+" previous="+fingerprint(one), "b current="+fingerprint(one)+" next="+p)
	l.do(t, "status").want(t, 0, "the current token is not the same everywhere: "+p+" in secret a/t, "+fingerprint(one)+" in secret b/t")
	l.do(t, "promote").want(t, 0, "secret a/t: nothing changed: promoted already", "secret b/t: promoted "+p)
	l.want(t, "a current="+p+" previous="+fingerprint(one), "b current="+p+" previous="+fingerprint(one))
}

// All or nothing: where one Secret cannot follow, none is put out.
func TestListIsAllOrNothing(t *testing.T) {
	with := func(namespace, token, more string) string {
		return strings.Replace(applied(namespace, token), `"data":{`, `"data":{`+more+`,`, 1)
	}
	staged := `"token-next":"` + b64(two) + `"`
	for name, c := range map[string]struct {
		secrets []string
		step    string
		code    int
		says    string
	}{
		"one has nothing staged":      {[]string{with("a", one, staged), applied("b", one)}, "promote", 1, "secret b/t: no token is staged"},
		"others staged":               {[]string{with("a", one, staged), with("b", one, `"token-next":"`+b64(three)+`"`)}, "stage", 1, "2 are staged, " + fingerprint(two) + ", " + fingerprint(three)},
		"others promoted":             {[]string{with("a", one, staged), with("b", one, `"token-next":"`+b64(three)+`"`)}, "promote", 1, fingerprint(two) + " in secret a/t, " + fingerprint(three) + " in secret b/t; stage one for all"},
		"one is broken":               {[]string{applied("a", one), with("b", one, `"token-next":"eA=="`)}, "stage", 1, "secret b/t/token-next: "},
		"one has no token":            {[]string{applied("a", one), strings.Replace(applied("b", one), `"token":`, `"APP_TOKEN":`, 1)}, "stage", 1, "the keys there are APP_TOKEN; "},
		"one has next without token":  {[]string{applied("a", one), strings.Replace(applied("b", one), `"token":`, `"token-next":`, 1)}, "stage", 1, "the keys there are token-next"},
		"one is immutable":            {[]string{applied("a", one), strings.Replace(applied("b", one), `"data"`, `"immutable":true,"data"`, 1)}, "stage", 1, "secret b/t is immutable"},
		"one previous is in the way":  {[]string{with("a", one, staged), with("b", one, staged+`,"token-previous":"`+b64(three)+`"`)}, "promote", 1, "secret b/t: " + fingerprint(three) + " is still accepted"},
		"one has keys":                {[]string{applied("a", one), strings.Replace(applied("b", hmacCanary), `"token":`, `"key":`, 1)}, "stage", 2, "say which with --kind"},
		"another agent does not know": {[]string{with("a", one, staged), with("b", one, staged)}, "promote --agent http://127.0.0.1:1", 1, "no answer from the agent"},
	} {
		l := newList(c.secrets...)
		if o := l.do(t, strings.Fields(c.step)[0], strings.Fields(c.step)[1:]...).want(t, c.code, c.says); o.out != "" {
			t.Errorf("%s: writes %q", name, o.out)
		}
	}
	l := newList(with("a", one, staged), with("b", one, `"token-next":"`+b64(three)+`"`))
	l.do(t, "stage", "--replace").want(t, 0)
	if items := l.items(t); string(items[0].Data["token-next"]) != string(items[1].Data["token-next"]) || string(items[0].Data["token-next"]) == two {
		t.Error("--replace stages one for all")
	}
}

// A rotation that somebody has undone, as a forced server-side apply does, is told.
func TestStatusTellsAnUndoneRotation(t *testing.T) {
	until := content.Deadline(time.Now().Add(time.Hour))
	s := &secret{strings.Replace(newSecret().text, `"token": "`+one+`"`, `"token": "`+one+`", "token-previous": "`+one+`", "token-previous-until": "`+until+`"`, 1)}
	s.do(t, "status").want(t, 0, "good, but the rotation was undone: the current token, "+fingerprint(one)+", is the previous one", "warning: ", "stop that tool", "next: stage and promote, once nobody puts")
	s = &secret{strings.Replace(newSecret().text, `"token": "`+one+`"`, `"token": "`+one+`", "token-revoked": "`+id(one)+`"`, 1)}
	s.do(t, "status").want(t, 1, "bad: the current token is revoked")
}

// Long lists of revocations are summed up.
func TestLongRevocationListsAreSummedUp(t *testing.T) {
	var digests strings.Builder
	for i := range 300 {
		digests.WriteString(id(fmt.Sprint("revoked-", i)) + `\n`)
	}
	s := &secret{strings.Replace(newSecret().text, `"token": "`+one+`"`, `"token": "`+one+`", "token-revoked": "`+digests.String()+`"`, 1)}
	for _, step := range []string{"status", "stage"} {
		o := s.do(t, step).want(t, 0, " and 290 more")
		report := o.errOut
		if step == "status" {
			report += o.out
		}
		if n := strings.Count(report, "\n"); n > 12 {
			t.Errorf("%s: %d lines", step, n)
		}
	}
	s.do(t, "revoke").want(t, 0, "revoked already: ", " and 290 more")
}

func withKeys(namespace, token, more string) string {
	return strings.Replace(applied(namespace, token), `"data":{`, `"data":{`+more+`,`, 1)
}

func (l *list) revoked(t *testing.T) (out []string) {
	t.Helper()
	for _, s := range l.items(t) {
		var prints []string
		for line := range strings.FieldsSeq(string(s.Data["token-revoked"])) {
			prints = append(prints, line[:8])
		}
		out = append(out, s.Metadata.Namespace+" "+strings.Join(prints, " "))
	}
	return out
}

// What takes the place of a revoked token is the same everywhere, unless --force
// says that this does not matter now.
func TestListRevokesByOneTokenUnlessForced(t *testing.T) {
	for _, args := range [][]string{{"--slot", "current"}, {"--digest", id(one)}} {
		l := newList(withKeys("a", one, `"token-next":"`+b64(two)+`"`), withKeys("b", one, `"token-next":"`+b64(three)+`"`))
		said := "the current token is not the same everywhere: " + fingerprint(two) + " in secret a/t, " + fingerprint(three) + " in secret b/t"
		l.do(t, "revoke", args...).want(t, 1, said, "revoke all the same with --force")
		l.do(t, "revoke", append(args, "--force")...).want(t, 0, "warning: ", said)
		l.want(t, "a current="+fingerprint(two), "b current="+fingerprint(three))
		l = newList(withKeys("a", one, `"token-next":"`+b64(two)+`"`), applied("b", one))
		l.do(t, "revoke", append(args, "--force")...).want(t, 0, "warning: ", fingerprint(two)+" in secret a/t, "+fingerprint(one)+" in secret b/t")
	}
}

// A slot means what is in it in any of the Secrets, and each refuses all of that:
// one token is to be good everywhere.
func TestListRevokesASlotEverywhere(t *testing.T) {
	l := newList(withKeys("a", two, `"token-previous":"`+b64(one)+`"`), withKeys("b", two, `"token-previous":"`+b64(three)+`"`), applied("c", two))
	l.do(t, "revoke", "--expect", fingerprint(one)).want(t, 0, "secret b/t: revoked "+fingerprint(one), "secret c/t: revoked "+fingerprint(one))
	if got, want := l.revoked(t), []string{"a " + fingerprint(one), "b " + fingerprint(one), "c " + fingerprint(one)}; !slices.Equal(got, want) {
		t.Errorf("revoked %q, want %q", got, want)
	}
	l.do(t, "revoke").want(t, 0)
	if got, want := l.revoked(t), []string{"a " + fingerprint(one) + " " + fingerprint(three), "b " + fingerprint(one) + " " + fingerprint(three), "c " + fingerprint(one) + " " + fingerprint(three)}; !slices.Equal(got, want) {
		t.Errorf("revoked %q, want %q", got, want)
	}
	l.want(t, "a current="+fingerprint(two), "b current="+fingerprint(two), "c current="+fingerprint(two))
	l.do(t, "revoke").want(t, 0, "secret a/t: nothing changed: ", "secret c/t: nothing changed: there is no previous token; revoked already: ")

	// The current ones differ: the others' are refused, too.
	l = newList(withKeys("a", one, `"token-next":"`+b64(three)+`"`), withKeys("b", two, `"token-next":"`+b64(three)+`"`))
	l.do(t, "revoke", "--slot=current").want(t, 0)
	if got, want := l.revoked(t), []string{"a " + fingerprint(one) + " " + fingerprint(two), "b " + fingerprint(one) + " " + fingerprint(two)}; !slices.Equal(got, want) {
		t.Errorf("revoked %q, want %q", got, want)
	}
	l.want(t, "a current="+fingerprint(three), "b current="+fingerprint(three))
}
