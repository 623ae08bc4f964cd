package reload

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestEnvFile(t *testing.T) {
	for text, want := range map[string]string{
		"T=a":                       "a",
		"\ufeffT=a\r\n":             "a",
		"  export\t T=a  ":          "a",
		"T='a b'\n":                 "a b",
		`T="a'b"`:                   "a'b",
		"T=a=b":                     "a=b",
		"T=a#b # c":                 "a#b # c",
		"T=$X${Y}`z`":               "$X${Y}`z`",
		"T=a\nT=b\n# T=c\n\n  #x":   "b",
		"X=\nexport=1\nT=a\nT_1=b":  "a",
		"exportT=x\nT=\"a\"\nU='b'": "a",
	} {
		got, err := lookupEnv("f", []byte(text), "T")
		if err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                "no key T; add a line T=value",
		"U=a":             "no key T",
		"T=":              "key T: nothing in it",
		"T=' '":           "key T: nothing in it",
		"U=a\nT a":        "f:2: no '='",
		"T =a":            "f:1: not a key",
		"1T=a":            "f:1: not a key",
		"=a":              "f:1: not a key",
		"T= a":            "f:1: a blank after",
		"T=a\nU='":        "f:2: unmatched",
		"T='a":            "f:1: unmatched",
		"T='a'b'":         "f:1: unmatched",
		"T='a' # comment": "f:1: unmatched",
		"T=\"a'":          "f:1: unmatched",
		"T=a\x00b":        "f:1: a control",
		"export":          "f:1: no '='",
	} {
		got, err := lookupEnv("f", []byte(text), "T")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := lookupEnv("f", []byte("T=''"), "T"); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
}

// An accepted value is read again after it was written to a new file, and an error does
// not quote the text.
func FuzzEnvFile(f *testing.F) {
	for _, seed := range []string{"T=a", "export T='b c'\r\n#x\n", "\ufeffT=\"x\"\nT=y", "T", "T='", "export  =", "T=\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		got, err := lookupEnv("f", text, "T")
		if !bytes.Equal(before, text) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			if got != nil {
				t.Fatalf("a value beside an error: %q", got)
			}
			for line := range bytes.SplitSeq(text, []byte("\n")) {
				if line = bytes.TrimSpace(line); len(line) > 16 && strings.Contains(err.Error(), string(line)) {
					t.Fatalf("quoted: %v", err)
				}
			}
			return
		}
		if isBlank(got) || bytes.ContainsAny(got, "\n\x00") {
			t.Fatalf("accepted %q", got)
		}
		for _, quote := range []string{"", "'", `"`} {
			again := "export T=" + quote + string(got) + quote + "\n"
			if quote == "" && strings.ContainsAny(string(got[0])+string(got[len(got)-1]), "'\" \t\r") || quote != "" && strings.Contains(string(got), quote) {
				continue
			}
			back, err := lookupEnv("f", []byte(again), "T")
			if err != nil || !bytes.Equal(back, got) {
				t.Fatalf("%q came back as %q, %v", got, back, err)
			}
		}
	})
}
