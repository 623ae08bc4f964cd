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
	for text, want := range map[string]error{
		`{}`: nil, `[]`: nil, `null`: nil, ` 1 `: nil, `"a\"b"`: nil,
		`{"a":1,"b":{"a":[1,{"a":"}"},"]"]}}`: nil,
		`{"a":1,"a":1}`:                       ErrRepeated,
		`{"a":1,"\u0061":1}`:                  ErrRepeated,
		`{"a":1 , "b" : [ { "x":1,"x":2 } ]}`: ErrRepeated,
		`{"a":"x","A":"x"}`:                   nil,
		`{"a\"":1,"a":1}`:                     nil,
		`{"":1,"":2}`:                         ErrRepeated,
		"{\"\xff\":1,\"\ufffd\":2}":           ErrRepeated, // encoding/json reads both as U+FFFD
		many(40, `"x":1`):                     nil,
		many(40, `"k39":1`):                   ErrRepeated,
		many(40, `"k3":1`):                    ErrRepeated,
		many(16, `"k15":1`):                   ErrRepeated,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth):               nil,
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1):           ErrDeep,
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1): ErrDeep,
	} {
		if _, got := Check([]byte(text)); !errors.Is(got, want) {
			t.Errorf("%.60s: %v, want %v", text, got, want)
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
		at, got := Check(text)
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if want := walk(t, d, 0); !errors.Is(got, want) {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
		if at > len(text) {
			t.Fatalf("offset %d of %d", at, len(text))
		}
	})
}

func walk(t *testing.T, d *json.Decoder, depth int) error {
	t.Helper()
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		t.Skip(err) // Valid and Token differ in some corner of their own
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	if depth == MaxDepth {
		return ErrDeep
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
				return ErrRepeated
			}
			seen[name] = true
		}
		if err := walk(t, d, depth+1); err != nil {
			return err
		}
	}
	_, _ = d.Token()
	return nil
}
