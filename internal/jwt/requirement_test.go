package jwt

import (
	"strings"
	"testing"
)

func claimsOf(tb testing.TB, text string) *Claims {
	tb.Helper()
	c, err := parseClaims(text)
	if err != nil {
		tb.Fatal(text, err)
	}
	return c
}

// TestRequirement asks for claims by name and by JSON Pointer; want is "" for any
// value.
func TestRequirement(t *testing.T) {
	t.Parallel()
	const doc = `{"foo":["bar","baz",[7],{"x":"y"}],"":0,"a/b":1,"c%d":2,"i\\j":5,"k\"l":6," ":7,"m~n":8,"~1":9,"0":"zero","o":{"":"e","0":"n","-":"d","l":null}}`
	for _, c := range []struct {
		name, want, doc string
		met             bool
	}{
		// Names.
		{"a/b", "", doc, true},
		{"foo", "baz", doc, true},
		{"foo", "bar baz", doc, false},
		{"FOO", "", doc, false},
		// RFC 6901 section 5, and its neighbours.
		{"/foo", "bar", doc, true},
		{"/foo/0", "bar", doc, true},
		{"/foo/1", "bar", doc, false},
		{"/foo/00", "", doc, false},
		{"/foo/01", "", doc, false},
		{"/foo/4", "", doc, false},
		{"/foo/-", "", doc, false},
		{"/foo/-1", "", doc, false},
		{"/foo/+1", "", doc, false},
		{"/foo/1e0", "", doc, false},
		{"/foo/99999999999999999999", "", doc, false},
		{"/foo/", "", doc, false},
		{"/foo/2", "7", doc, true},
		{"/foo/3/x", "y", doc, true},
		{"/foo/0/x", "", doc, false},
		{"/", "0", doc, true},
		{"/a~1b", "1", doc, true},
		{"/a/b", "", doc, false},
		{"/c%d", "2", doc, true},
		{"/i\\j", "5", doc, true},
		{"/k\"l", "6", doc, true},
		{"/ ", "7", doc, true},
		{"/m~0n", "8", doc, true},
		{"/~01", "9", doc, true},
		{"/0", "zero", doc, true},
		{"/o/", "e", doc, true},
		{"/o/0", "n", doc, true},
		{"/o/-", "d", doc, true},
		{"/o/l", "", doc, true},
		{"/o/l", "null", doc, false},
		{"/o", "e", doc, false},
		{"/o//", "", doc, false},
		// Words: RFC 6749 section 3.3.
		{"scope", "admin", `{"scope":"admin"}`, true},
		{"scope", "admin", `{"scope":" read  admin "}`, true},
		{"scope", "", `{"scope":""}`, true},
		{"scope", "admin", `{"scope":"read admins"}`, false},
		{"scope", "admin", `{"scope":"ADMIN"}`, false},
		{"scope", "admin", `{"scope":"x\u00a0admin"}`, false},
		{"scope", "admin", `{"scope":"x\u2003admin"}`, false},
		{"scope", "admin", `{"scope":"x\tadmin"}`, false},
		{"scope", "admin", `{"scope":"x\nadmin"}`, false},
		{"scope", "admin", `{"scope":["read","admin"]}`, true},
		{"scope", "admin", `{"scope":["read admin"]}`, false},
		{"scp", "admin", `{"scp":"read admin"}`, true},
		{"scp", "admin", `{"scp":["read","admin"]}`, true},
		{"scp", "admin", `{"scp":"read\u0085admin"}`, false},
		{"/scp", "admin", `{"scp":"read admin"}`, true},
		{"scopes", "admin", `{"scopes":"read admin"}`, false},
		{"/x/scope", "admin", `{"x":{"scope":"read admin"}}`, true},
		{"/scope/x", "admin", `{"scope":{"x":"read admin"}}`, false},
		// Numbers.
		{"n", "12", `{"n":12}`, true},
		{"n", "12", `{"n":12.0}`, true},
		{"n", "12", `{"n":1.2e1}`, true},
		{"n", "1.5", `{"n":1.5}`, true},
		{"n", "12345678901234567890", `{"n":12345678901234567890}`, true},
		{"n", "12345678901234567000", `{"n":12345678901234567890}`, false},
		{"n", "9007199254740992", `{"n":9007199254740993}`, false},
		{"n", "9007199254740993", `{"n":["x",9007199254740993]}`, true},
		{"/o/n", "-9007199254740993", `{"o":{"n":-9007199254740993}}`, true},
		{"b", "true", `{"b":true}`, true},
		{"b", "map[]", `{"b":{}}`, false},
	} {
		var values []string
		if c.want != "" {
			values = []string{"none of it", c.want}
		}
		r, err := Require(c.name, values)
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
		} else if r.Met(claimsOf(t, c.doc)) != c.met {
			t.Errorf("%q is %q in %s: %v", c.name, c.want, c.doc, !c.met)
		}
	}
	for _, name := range []string{"", "/~", "/a~", "/a~2", "/~~0", "/a/b~x/c"} {
		if _, err := Require(name, nil); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

// FuzzPointer makes a pointer to any member by its name, and finds it.
func FuzzPointer(f *testing.F) {
	for _, s := range []string{"", "a", "a/b", "m~n", "~1", "~0", "/", "0", "~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		_, _ = Require(name, nil)
		pointer := "/o/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
		r, err := Require(pointer, []string{"x"})
		if err != nil {
			t.Fatalf("%q: %v", pointer, err)
		}
		if !r.Met(NewClaims(map[string]any{"o": map[string]any{name: "x"}})) || r.Met(NewClaims(map[string]any{"o": map[string]any{name + "x": "x"}})) {
			t.Errorf("%q does not lead to %q", pointer, name)
		}
	})
}
