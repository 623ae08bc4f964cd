package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	many := func(n int, last string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return "{" + b.String() + last + "}"
	}
	for text, want := range map[string]Fault{
		`{}`: None, `[]`: None, `null`: None, ` 1 `: None, `"a\"b"`: None,
		`{"a":1,"b":{"a":[1,{"a":"}"},"]"]}}`: None,
		`{"a":1,"a":1}`:                       Twice,
		`{"a":1,"\u0061":1}`:                  Twice,
		`{"a":1 , "b" : [ { "x":1,"x":2 } ]}`: Twice,
		`{"a":"x","A":"x"}`:                   None,
		`{"a\"":1,"a":1}`:                     None,
		`{"":1,"":2}`:                         Twice,
		"{\"\xff\":1,\"\ufffd\":2}":           Twice, // encoding/json reads both as U+FFFD
		many(40, `"x":1`):                     None,
		many(40, `"k39":1`):                   Twice,
		many(40, `"k3":1`):                    Twice,
		many(16, `"k15":1`):                   Twice,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth):               None,
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1):           Deep,
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1): Deep,
	} {
		if got, _ := Check([]byte(text)); got != want {
			t.Errorf("%.60s: %d, want %d", text, got, want)
		}
	}
}

// FuzzCheck holds the scanner to a slow walk over encoding/json's own tokens.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":null,"b":1e9}]}`, `{"\ud800":1,"�":2}`, "[[[]]]", `{"a":"\\","a":1}`, "{\"a\xff\":1}", `-1.5`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		got, at := Check(text)
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if want := walk(t, d, 0); got != want {
			t.Fatalf("%q: %d, want %d", text, got, want)
		}
		if at > len(text) {
			t.Fatalf("offset %d of %d", at, len(text))
		}
	})
}

func walk(t *testing.T, d *json.Decoder, depth int) Fault {
	t.Helper()
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return None
	}
	if err != nil {
		t.Skip(err) // Valid and Token differ in some corner of their own
	}
	open, nested := token.(json.Delim)
	if !nested {
		return None
	}
	if depth == MaxDepth {
		return Deep
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			token, err := d.Token()
			name, ok := token.(string)
			if err != nil || !ok {
				t.Skip(err)
			}
			if seen[name] {
				return Twice
			}
			seen[name] = true
		}
		if fault := walk(t, d, depth+1); fault != None {
			return fault
		}
	}
	_, _ = d.Token()
	return None
}
