package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
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
		many(23, `"x":{"y":1,"z":1}`):         nil,
		many(23, `"x":{"y":1,"z":1,"z":1}`):   ErrRepeated,
		many(23, `"x":{"k1":1},"k1":1`):       ErrRepeated,
		many(24, `"x":{"k1":1},"k1":1`):       ErrRepeated,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth):               nil,
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1):           ErrDeep,
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1): ErrDeep,
	} {
		if _, got := Check([]byte(text)); !errors.Is(got, want) {
			t.Errorf("%.60s: %v, want %v", text, got, want)
		}
	}
}

// TestInvalid has texts that encoding/json refuses, and neighbours that it accepts.
func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, ` `, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":1 "b":1}`, `{1:1}`, `{a:1}`, `{"a":}`, `{"a"::1}`,
		`{}}`, `{} {}`, `{}x`, "{}\x00", `[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `[1}`, `{"a":1]`, `]`, `}`,
		`"`, `"a`, `"\`, `"\"`, `"\x"`, `"\u"`, `"\u00"`, `"\u000`, `"\u000g"`, `"\u000G"`, `"\U0000"`, `"\u00Ff"`, `"\/\b\f\n\r\t"`, "\"\n\"", "\"\x00\"", "\"\x1f\"", "\"\x7f\"",
		`t`, `tru`, `truee`, `True`, `nul`, `nulll`, `fals`, `false`, `null`, `true`,
		`-`, `+1`, `01`, `-01`, `00`, `.5`, `1.`, `1.e1`, `1e`, `1e+`, `1E-`, `1e5`, `1E+5`, `-0`, `-0.0e-0`, `0x1`, `1_0`, `NaN`, `Infinity`, `1e999`, `-1e999`, `1e-999`, `1a`, `1 `,
		strings.Repeat("1", 309), strings.Repeat("9", 309), strings.Repeat("9", 308), "0." + strings.Repeat("9", 400), "/**/1", "\ufeff1", "\u00a01", "\v1",
	} {
		for _, text := range []string{text, `{"x":` + text + `}`, `[` + text + `,1]`} {
			if _, err := Check([]byte(text)); (err == nil) != json.Valid([]byte(text)) {
				t.Errorf("%.60q: %v", text, err)
			}
			var members map[string]any
			err := json.Unmarshal([]byte(text), &members)
			if got, want := Object(text, func(string, string) {}), err == nil && members != nil; (got == nil) != want {
				t.Errorf("%.60q: %v, but encoding/json: %v", text, got, err)
			}
		}
	}
}

// TestValues reads the values of an object.
func TestValues(t *testing.T) {
	t.Parallel()
	const text = ` { "s" : "a\u0062\"" , "l":["x", 1.5e1 ,["y"]],"n": -12.0,"o":{"s":1}, "\u0065":null} `
	var got []string
	if err := Object(text, func(name, value string) { got = append(got, name+"="+value) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{`s="a\u0062\""`, `l=["x", 1.5e1 ,["y"]]`, `n=-12.0`, `o={"s":1}`, `e=null`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	list, err := First(text, "l")
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	if !Array(list, func(value string) { got = append(got, value) }) || !slices.Equal(got, []string{`"x"`, `1.5e1`, `["y"]`}) {
		t.Errorf("%q", got)
	}
	for _, value := range []string{``, `"`, `1`, `{}`, `null`, `-`} {
		if s, ok := String(value); ok {
			t.Errorf("%s is the string %q", value, s)
		}
		if Array(value, nil) {
			t.Errorf("%s is an array", value)
		}
	}
	for value, want := range map[string]float64{`-12.0`: -12, `0`: 0, `1e2`: 100, ``: -1, `"1"`: -1, `null`: -1, `true`: -1, `Infinity`: -1} {
		if n, ok := Number(value); ok && n != want || ok != (want != -1) {
			t.Errorf("%s: %v, %t", value, n, ok)
		}
	}
	for _, c := range [][2]string{{`{"a":1,"a":2}`, `1`}, {`{"\u0061":1,"a":2}`, `2`}, {`{"A":1}`, ``}, {`{"x":{"a":1}}`, ``}, {`{}`, ``}} {
		if value, err := First(c[0], "a"); err != nil || value != c[1] {
			t.Errorf("%s: %s, %v", c[0], value, err)
		}
	}
	for _, text := range []string{`null`, `[]`, `"a"`, `{"a":1`, `{"a":1}{}`, ``} {
		if _, err := First(text, "a"); err == nil {
			t.Errorf("%s is an object", text)
		}
	}
}

// TestObjectAllocatesLittle: usual claims do not allocate.
func TestObjectAllocatesLittle(t *testing.T) {
	const text = `{"iss":"https://issuer.example","aud":["a","b"],"exp":1e9,"kubernetes.io":{"namespace":"shop","pod":{"name":"p","uid":"u"}}}`
	names := 0
	if n := testing.AllocsPerRun(100, func() {
		if Object(text, func(string, string) { names++ }) != nil {
			t.Fatal("refused")
		}
	}); n != 0 || names == 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCheck compares the scanner with encoding/json, and with a slow walk over its tokens.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":null,"b":1e9}]}`, `{"\ud800":1,"�":2}`, "[[[]]]", `{"a":"\\","a":1}`, "{\"a\xff\":1}", `-1.5`, `{"a":1e999}`, `{"a":tru}`, ` { } `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		members := map[string]any{}
		at, got := Check(text)
		if at > len(text) || (got == nil || errors.Is(got, ErrInvalid)) && json.Valid(text) != (got == nil) {
			t.Fatalf("%q: %v, at %d", text, got, at)
		}
		object := Object(string(text), func(name, value string) {
			members[name] = nil
			if v := any(nil); json.Unmarshal([]byte(value), &v) == nil {
				members[name] = v
			}
			if s, isString := String(value); isString && s != members[name] {
				t.Fatalf("%q: %q, want %q", value, s, members[name])
			}
			if n, isNumber := Number(value); isNumber && n != members[name] {
				t.Fatalf("%q: %v, want %v", value, n, members[name])
			}
		})
		if !json.Valid(text) {
			if object == nil {
				t.Fatalf("%q is accepted", text)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		want := walk(t, d, 0)
		if !errors.Is(got, want) {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
		var decoded map[string]any
		isObject := json.Unmarshal(text, &decoded) == nil && decoded != nil // and its numbers fit
		if (object == nil) != (want == nil && isObject && utf8.Valid(text)) || object == nil && !reflect.DeepEqual(members, decoded) {
			t.Fatalf("%q: %v with %v, want %v", text, object, members, decoded)
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
