package realmfile

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text renders a Document, to be compared.
func text(d *Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default=%s paths=%t", d.Default, d.Paths)
	for _, r := range d.Realms {
		fmt.Fprintf(&b, "\n%s@%d", r.Name, r.Line)
		for _, s := range r.Settings {
			fmt.Fprintf(&b, " %s@%d=%s", s.Name, s.Line, strings.Join(s.Values, "|"))
			if s.Common {
				b.WriteString("*")
			}
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	t.Parallel()
	const file = `# two realms
defaults:
  overlap: 10m
  header: [X-Token]
default-realm: orders
paths: false
realms:
  orders:
    token-file: /run/orders   # a comment
    hosts: orders.example
  payments:
    token-file: "/run/pay: ments"
    overlap: 0s
    header:
      - A
      - 'B'
    wait-for-source: true
`
	want := `default=orders paths=false
orders@8 token-file@9=/run/orders hosts@10=orders.example overlap@3=10m* header@4=X-Token*
payments@11 token-file@12=/run/pay: ments overlap@13=0s header@14=A|B wait-for-source@17=true`
	for _, data := range []string{file, strings.ReplaceAll(file, "\n", "\r\n"), "\ufeff" + file, "---\n" + file[len("# two realms\n"):]} {
		d, err := Parse("f", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := text(d); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	d, err := Parse("f", []byte("realms: {a: {overlap: 1m}}"))
	if err != nil || text(d) != "default= paths=true\na@1 overlap@1=1m" {
		t.Errorf("in one line: %v, %v", d, err)
	}
}

const canary = "CANARY-70c1-token"

// TestFaults: each names its line and its mend, and none quotes what it read.
func TestFaults(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"":                "f:1: it is empty; it needs realms",
		"# nothing\n":     "f:1: it is empty",
		"--- \n":          "f:1: it is empty",
		"realms:":         "f:1: realms: it must be a mapping",
		"realms: {}":      "f:1: realms is empty",
		"overlap: 1m":     "f:1: the file: unknown key; there are default-realm, defaults, paths, realms\nf:1: realms is missing",
		"realm:\n  a: {}": "f:1: the file: unknown key realm; did you mean realms?",
		"- a":             "f:1: the file: it must be a mapping",
		"realms:\n  a:\n    token_file: " + canary:             "f:3: realms.a: unknown key token_file; did you mean token-file?",
		"realms:\n  a:\n    tokenFile: x":                      "f:3: realms.a: unknown key tokenFile; did you mean token-file?",
		"realms:\n  a:\n    overlp: 1m":                        "f:3: realms.a: unknown key overlp; did you mean overlap?",
		"realms:\n  a:\n    host: x":                           "f:3: realms.a: unknown key host; did you mean hosts?",
		"realms:\n  a:\n    " + canary + ": 1":                 "f:3: realms.a: unknown key; there are algorithm, audience, debounce, env-file, header, hosts, issuer, ",
		"realms:\n  a:\n    overlap: 1m\n    overlap: 2m":      "f:4: realms.a: a key comes twice; the first is on line 3",
		"realms:\n  a: {}\n  b: {}\n  a: {}":                   "f:4: realms: a key comes twice; the first is on line 2",
		"realms:\n  a:\n    overlap: [1m]":                     "f:3: realms.a.overlap: it takes one value",
		"realms:\n  a:\n    header: []":                        "f:3: realms.a.header: the list is empty",
		"realms:\n  a:\n    header: [{b: c}]":                  "f:3: realms.a.header: it must be a plain value",
		"realms:\n  a:\n    overlap:":                          "f:3: realms.a.overlap: it has no value",
		"realms:\n  a:\n    overlap: 2026-01-01":               "f:3: realms.a.overlap: it must be text, a number, true or false",
		"realms:\n  a: " + canary:                              "f:2: realms.a: it must be a mapping",
		"realms:\n  -a: {}":                                    "f:2: realms: a name must be",
		"realms:\n  " + canary + "/x: {}":                      "f:2: realms: a name must be",
		"realms:\n  a: &x {}\n  b: *x":                         "f:2: realms.a: anchors and aliases are not read",
		"realms:\n  a:\n    overlap: &x 1m":                    "f:3: realms.a.overlap: anchors and aliases are not read",
		"realms:\n  a: &x {}\n  b:\n    overlap: *x":           "f:4: realms.b.overlap: anchors and aliases are not read",
		"default-realm: b\nrealms:\n  a: {}":                   "f:1: default-realm: there is no realm of that name\x00",
		"realms:\n  a:\n    <<: {overlap: 1m}":                 "f:3: realms.a: unknown key; there are",
		"realms:\n  ? [a]\n  : {}":                             "f:2: realms: a key must be a plain word",
		"realms:\n  a: {}\n---\nrealms: {}":                    "f:3: a second document begins",
		"realms:\n\ta: {}":                                     "f:2: it is not YAML:",
		"realms:\n  a: {}\n  b: *" + canary:                    "it is not YAML: an alias to no anchor",
		"realms:\n  a: \"" + canary:                            "it is not YAML:",
		"defaults:\n  token-file: x\nrealms:\n  a: {}":         "f:2: defaults: token-file is each realm's own",
		"default-realm: ordres\nrealms:\n  orders: {}":         "f:1: default-realm: there is no realm of that name; did you mean orders?",
		"default-realm: " + canary + "\nrealms:\n  orders: {}": "f:1: default-realm: there is no realm of that name",
		"paths: maybe\nrealms:\n  a: {}":                       "f:1: paths: it must be true or false",
	} {
		d, err := Parse("f", []byte(data))
		if err == nil {
			t.Errorf("%q: accepted as %s", data, text(d))
			continue
		}
		if !strings.Contains(err.Error()+"\x00", want) {
			t.Errorf("%q:\n  %v\nwant\n  %s", data, err, want)
		}
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: quoted: %v", data, err)
		}
	}
}

// TestAllFaultsAtOnce, up to ten.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse("f", []byte("realms:\n  a:\n"+strings.Repeat("    overlp: 1\n", 1)+"    hedaer: 2\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two faults: %v", err)
	}
	var b strings.Builder
	for i := range 15 {
		fmt.Fprintf(&b, "  r%d: 1\n", i)
	}
	_, err = Parse("f", []byte("realms:\n"+b.String()))
	if err == nil || strings.Count(err.Error(), "\n") != 10 || !strings.HasSuffix(err.Error(), "and 5 more") {
		t.Errorf("fifteen faults: %v", err)
	}
}

// FuzzParse: no panic, no quotation, and what is accepted has known keys alone,
// with values and lines that are in the file.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"realms: {a: {overlap: 1m}}", "realms:\n  a:\n    header: [x, y]\ndefaults: {overlap: 1}", "a: &a [*a]", "? x\n: y", "realms: !!binary x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse("f", data)
		if err != nil {
			if strings.Contains(err.Error(), "CANARY") {
				t.Fatal("quoted")
			}
			return
		}
		if len(d.Realms) == 0 {
			t.Fatal("no realms")
		}
		n := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
			strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + 1
		for _, r := range d.Realms {
			if !NameForm.MatchString(r.Name) || r.Line < 1 || r.Line > n {
				t.Fatalf("realm %q on line %d of %d", r.Name, r.Line, n)
			}
			for _, s := range r.Settings {
				if len(s.Values) == 0 || len(s.Values) > 1 && !s.List || s.Line < 1 || s.Line > n {
					t.Fatalf("%+v", s)
				}
			}
		}
	})
}
