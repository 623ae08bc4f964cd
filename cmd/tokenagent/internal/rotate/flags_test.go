package rotate_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

func hexOf(d rotation.ID) string { return hex.EncodeToString(d[:]) }

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, one)
	for args, says := range map[string]string{
		"":                                     "a step is missing",
		"stge":                                 "did you mean stage?",
		"CANARY-1c3a9e":                        "no step of that name",
		"stage a b":                            "takes one PATH; put",
		"stage -":                              "leave it out to filter",
		"stage --min-token-bytes 0 " + file:    "--min-token-bytes must be at least 1",
		"stage --from -":                       "--from - needs PATH",
		"promote --overlap -1s " + file:        "--overlap must not be negative",
		"promote --until soon " + file:         "--until is no RFC 3339 time",
		"promote --until 2001-01-01T00:00:00Z": "--until has passed",
		"promote --overlap 1m --until 2999-01-01T00:00:00Z": "give one",
		"promote --expect CANARY-1c3a9e":                    "--expect must be a fingerprint",
		"promote --agent localhost":                         "--agent must be a URL",
		"promote --wait -1s":                                "--wait must not be negative",
		"retire --agent ftp://CANARY-1c3a9e":                "--agent must be a URL",
		"retire --idle 0s":                                  "--idle must be positive",
		"retire --slot current " + file:                     "--slot must be previous or next",
		"retire --slot next --key k " + file:                "--key goes with key sets",
		"retire --slot next --agent http://h:1 " + file:     "--agent goes with --slot previous",
		"revoke --slot listed":                              "--slot must be previous, next or current",
		"revoke --digest CANARY-1c3a9e":                     "--digest must be the SHA-256",
		"revoke --forget CANARY-1c3a9e":                     "--forget must be a SHA-256",
		"revoke --slot next --digest " + id(one):            "give only one of --slot",
		"revoke --expect 00000000 --digest " + id(one):      "--expect goes with --slot",
	} {
		t.Run(args, func(t *testing.T) { run(t, "", false, strings.Fields(args)...).want(t, 2, says) })
	}
	if got, _ := os.ReadFile(file); string(got) != one {
		t.Error("a usage error changed the file")
	}
}

func TestFrom(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one)
	run(t, "\ufeff "+two+"\r\n", false, "stage", "--from", "-", string(file)).want(t, 0, "staged "+fingerprint(two))
	want(t, file, "current=one next=two")
	for text, says := range map[string]string{
		"":                  "no current token",
		"CANARY-1c3a9e":     "is 13 bytes, shorter than 16",
		three + "\n" + two:  "more than one token",
		three + " next":     "no current token",
		"#" + three:         "no current token",
		three + "\x01":      "outside 0x21 to 0x7E",
		three + "\nrevoked": "a revocation must be",
	} {
		before := file.bytes(t)
		run(t, text, false, "stage", "--replace", "--from", "-", string(file)).want(t, 1, "--from -", says)
		if file.bytes(t) != before {
			t.Errorf("%q: refused, and changed all the same", text)
		}
	}
	run(t, strings.Repeat("x", 2<<20), false, "stage", "--replace", "--from", "-", string(file)).want(t, 1, "longer than a token or a key can be")
	run(t, "", false, "stage", "--from", filepath.Join(t.TempDir(), "none"), string(file)).want(t, 1, "--from: ")
	run(t, "", false, "revoke", "--from", tokenFile(t, two), string(file)).want(t, 0)
	want(t, file, "current=one revoked=two")
}

// A token in the place of the file that holds it is not repeated; the name of a
// file that is not there is.
func TestArgumentsThatMayBeTokensAreNotRepeated(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	put(t, "token", one)
	for _, token := range []string{one, "CANARY-1c3a/bcdefghijkl==", "/CANARY-1c3abcdef/ghijkl", "CANARY-1c3a." + strings.Repeat("x", 20) + ".sig", "CANARY-1c3a" + strings.Repeat("x", 300)} {
		for _, args := range [][]string{{"status", token}, {"stage", token}, {"stage", "--from", token, "token"}, {"revoke", "--from", token, "token"}} {
			run(t, "", false, args...).want(t, 1, "the path given does not exist", "may be a token")
		}
	}
	for _, name := range []string{"short", "./a-long-name-of-a-file", filepath.Join(dir, "another-name-of-a-file"), dir + "/none/another-name"} {
		run(t, "", false, "status", name).want(t, 1, name+" does not exist; make it first")
		run(t, "", false, "stage", "--from", name, "token").want(t, 1, "--from: "+name+" does not exist")
	}
}

// What a shell makes of --from <(command) is a pipe.
func TestFromIsARegularFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, one)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pipe := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := os.Stat(pipe); err != nil {
		t.Skip(err)
	}
	run(t, "", false, "stage", "--from", pipe, file).want(t, 1, "is no regular file", "or - to read standard input")
	run(t, "", false, "stage", "--from", filepath.Dir(file), file).want(t, 1, "is a directory; give the file in it")
}

// Bad content is refused with its own error, which says where, and kept.
func TestBadContent(t *testing.T) {
	file, dir := filepath.Join(t.TempDir(), "token"), t.TempDir()
	put(t, file, one+"\nCANARY-1c3a\n")
	put(t, filepath.Join(dir, "token"), one)
	put(t, filepath.Join(dir, "token-next"), "")
	for _, step := range []string{"stage", "promote", "retire", "revoke", "now", "status"} {
		run(t, "", false, step, file).want(t, 1, file+":2: the token is 11 bytes")
		run(t, "", false, step, dir).want(t, 1, dir+"/token-next: empty; put a token there, or delete the key")
		o := run(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"n"},"data":{"token":"QUFB"}}`, false, step)
		if o.want(t, 1, "secret n/token: the token is 3 bytes"); o.out != "" {
			t.Errorf("%s writes %q", step, o.out)
		}
		run(t, "", false, step, filepath.Join(dir, "none")).want(t, 1, "does not exist; make it first")
	}
}

// A file of another form, of which a line passes for a token, is left alone.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	file, source := path(filepath.Join(t.TempDir(), "app.env")), path(filepath.Join(t.TempDir(), "token"))
	put(t, string(source), three)
	for text, says := range map[string]string{
		"APP_API_TOKEN=" + one + "\nexport OTHER_TOKEN=" + two + "\n": "1: it looks like a line NAME=value",
		`{"token":"` + one + `"}`:                                     "1: it looks like JSON",
	} {
		put(t, string(file), text)
		for _, args := range [][]string{{"stage"}, {"now"}, {"status"}, {"revoke", "--digest", id(two)}, {"revoke", "--slot", "current", "--force"}} {
			file.do(t, args[0], args[1:]...).want(t, 1, string(file)+":")
			file.do(t, args[0], append(args[1:], "--kind=tokens")...).want(t, 1, string(file)+":"+says)
		}
		source.do(t, "stage", "--from", string(file)).want(t, 1, "--from "+string(file)+":"+says)
		if got, _ := os.ReadFile(string(file)); string(got) != text {
			t.Errorf("the file is %q", got)
		}
	}
	put(t, string(file), one+"==\n")
	file.do(t, "stage", "--from", tokenFile(t, two+"=")).want(t, 0)
	file.do(t, "promote").want(t, 0)
}

func TestKubeletsMountIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kubernetes.io~secret", "app")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := kubemount.Write(dir, map[string][]byte{"token": []byte(one)}, 0o400); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"stage", "promote", "retire", "revoke", "now"} {
		run(t, "", false, step, dir).want(t, 1, "rotate the Secret: kubectl get secret NAME -o json")
	}
	run(t, "", false, "status", dir).want(t, 0, "current  "+fingerprint(one))
}

func TestReport(t *testing.T) {
	type slot struct {
		Fingerprint string `json:"fingerprint"`
		Until       string `json:"until"`
		LeftSeconds *int   `json:"left_seconds"`
		Revoked     bool   `json:"revoked"`
	}
	type report struct {
		Schema         int
		Step, Target   string
		Changed        bool
		Current        slot
		Next, Previous []slot
		Revoked        []string
		Warnings       []string
		NextStep       string `json:"next_step"`
		DryRun         bool   `json:"dry_run"`
	}
	forEachWay(t, func(t *testing.T, b bench) {
		parse := func(o outcome) (r report) {
			t.Helper()
			text := o.out
			if isSecret(b) && !strings.Contains(text, `"step": "status"`) {
				text = o.errOut // one JSON document and nothing else
			}
			if err := json.Unmarshal([]byte(text), &r); err != nil || o.code != 0 {
				t.Fatalf("%v\n%s%s", err, o.out, o.errOut)
			}
			return r
		}
		r := parse(b.do(t, "stage", "--dry-run", "--output=json"))
		if !r.DryRun || !r.Changed {
			t.Errorf("dry_run %t, changed %t", r.DryRun, r.Changed)
		}
		if len(r.Next) != 1 || r.Next[0].Fingerprint != "" {
			t.Errorf("a dry run shows the fingerprint of a token that it throws away: %+v", r.Next)
		}
		b.do(t, "stage", "--dry-run").want(t, 0, "dry run, nothing written: staged a new token", "next     a new token")
		r = parse(b.do(t, "stage", "--from", tokenFile(t, two), "--output=json"))
		if r.Schema != 1 || r.Step != "stage" {
			t.Errorf("schema %d, step %s", r.Schema, r.Step)
		}
		if !r.Changed || r.DryRun {
			t.Errorf("dry_run %t, changed %t", r.DryRun, r.Changed)
		}
		if r.Current.Fingerprint != fingerprint(one) || r.Next[0].Fingerprint != fingerprint(two) {
			t.Errorf("current %v, next %v", r.Current, r.Next)
		}
		if !strings.HasPrefix(r.NextStep, "promote") {
			t.Errorf("next_step %q", r.NextStep)
		}
		if r.Warnings == nil || r.Revoked == nil || r.Previous == nil {
			t.Errorf("a list is null and not []: %+v", r)
		}
		r = parse(b.do(t, "promote", "--output=json", "--overlap=10h"))
		previous := r.Previous[0]
		if previous.Fingerprint != fingerprint(one) || *previous.LeftSeconds < 35900 || previous.Until == "" {
			t.Errorf("previous %+v", previous)
		}
		if !strings.HasPrefix(r.NextStep, "retire, once") {
			t.Errorf("next_step %q", r.NextStep)
		}
		b.do(t, "revoke").want(t, 0)
		r = parse(b.do(t, "status", "--output=json"))
		if !slices.Equal(r.Revoked, []string{fingerprint(one)}) {
			t.Errorf("revoked %v", r.Revoked)
		}
		if r.Step != "status" || !strings.HasPrefix(r.NextStep, "stage, when") {
			t.Errorf("step %s, next_step %q", r.Step, r.NextStep)
		}
		b.do(t, "revoke", "--slot=current", "--force").want(t, 0, "warning: ", "its senders are refused; run stage and promote")
		b.do(t, "status").want(t, 1, "bad: the current token is revoked", "stage and promote, at once")
	})
}

func TestWarnings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, one)
	run(t, "", false, "stage", file).want(t, 0, "tokenagent: warning: "+file+": the file held only the token")
	put(t, file, one+"\n"+two+" previous\n")
	run(t, "", false, "status", file).want(t, 0, "warning: ", fingerprint(two)+" has no deadline")
	if err := os.Link(file, file+"2"); err != nil {
		t.Skip(err)
	}
	run(t, "", false, "retire", file).want(t, 0, "warning: ", "the file has 2 names (hard links)", "ln -s")
	if o := run(t, "", false, "stage", file); strings.Contains(o.errOut, "hard links") {
		t.Errorf("it has one name alone now: %s", o.errOut)
	}
}

func TestFilter(t *testing.T) {
	const rest = `"apiVersion":"v1","kind":"Secret","metadata":{"name":"n","resourceVersion":"1"}`
	good := `{` + rest + `,"stringData":{"token":"` + one + `"}}`
	for name, c := range map[string]struct{ in, says string }{
		"nothing":    {" \n", "standard input is empty; pipe the answer of kubectl"},
		"immutable":  {`{"immutable":true,` + good[1:], "secret n is immutable, and the API server refuses any change; create a new Secret under another name"},
		"a pod":      {`{"apiVersion":"v1","kind":"Pod"}`, "is no Kubernetes Secret"},
		"two":        {good + good, "not one JSON document"},
		"too large":  {good + strings.Repeat(" ", 17<<20), "too much for Secrets"},
		"no version": {good, ""},
	} {
		for _, step := range []string{"stage", "now"} {
			o := run(t, c.in, c.says == "", step)
			if c.says == "" {
				o.want(t, 0)
				continue
			}
			if o.want(t, 1, c.says); o.out != "" {
				t.Errorf("%s: writes %q", name, o.out)
			}
		}
	}
	run(t, `{"immutable":true,`+good[1:], false, "status").want(t, 0, "secret n: good")
	annotated := strings.Replace(good, `"resourceVersion":"1"`, `"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"stringData\":{\"token\":\"`+one+`\"}}"}`, 1)
	run(t, annotated, true, "stage").want(t, 0, "no metadata.resourceVersion", "managed by kubectl apply", "puts back token as in its manifest")
}
