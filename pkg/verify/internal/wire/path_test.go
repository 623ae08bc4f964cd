package wire_test

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestSafePath(t *testing.T) {
	for _, p := range []string{
		"/", "/healthz", "/healthz/", "/a/b.c", "/.well-known/x", "/..a", "/a..", "/...", "/a.b/..c/d", "/a:b@c", "/~u/(x)!*'$&+,=",
		"/grpc.health.v1.Health/Check",
	} {
		if !wire.SafePath(p) {
			t.Errorf("SafePath(%q) = false", p)
		}
	}
	for _, p := range []string{
		"", "healthz", "*", "example.com:443", "http://h/healthz", "//", "//healthz", "/a//b", "/a//", "/%2e%2e/x", "/a%2Fb", "/%", "/a;b", "/;", "/.", "/..",
		"/./a", "/../a", "/a/.", "/a/..", "/a/./b", "/a/../b", "/a?b", "/a#b", "/a b", "/a\tb", "/a\x00", "/a\\b", "/é", "/a\"b", "/a|b", "/[a]", "/{id}", "/a^b", "/a`b", "/a<b>",
	} {
		if wire.SafePath(p) {
			t.Errorf("SafePath(%q) = true", p)
		}
	}
}

// FuzzSafePath: neither parsing nor escaping nor cleaning changes a safe path.
func FuzzSafePath(f *testing.F) {
	for _, s := range []string{"/", "/healthz", "/a/../b", "//", "/a;b", "/%2e", "/a!b", "/.", "/a/", "/\u212a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !wire.SafePath(p) {
			return
		}
		for _, bad := range []string{"%", "//", ";", "/./", "/../", "\\", "?", "#", " "} {
			if strings.Contains(p, bad) {
				t.Fatalf("SafePath(%q) holds %q", p, bad)
			}
		}
		u, err := url.ParseRequestURI(p)
		if err != nil || u.Path != p || u.EscapedPath() != p || u.Host != "" || u.RawQuery != "" {
			t.Fatalf("SafePath(%q), which parses as %+v, %v", p, u, err)
		}
		if c := path.Clean(p); c != p && c+"/" != p {
			t.Fatalf("SafePath(%q), which cleans to %q", p, c)
		}
	})
}
