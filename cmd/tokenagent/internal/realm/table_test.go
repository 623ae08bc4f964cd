package realm

import (
	"strings"
	"testing"
)

// table returns a Table of realms with the hosts that follow their names.
func table(paths bool, fallback string, realms ...string) *Table {
	t := &Table{byName: map[string]*Realm{}, byHost: map[string]*Realm{}}
	for _, r := range realms {
		f := strings.Fields(r)
		t.add(&Realm{Name: f[0], Hosts: f[1:]})
	}
	t.finish(&Plan{Paths: paths, Default: fallback})
	return t
}

func name(r *Realm) string {
	if r == nil {
		return "-"
	}
	return r.Name
}

func TestByHost(t *testing.T) {
	t.Parallel()
	realms := []string{"a a.example", "b b.example *.b.example", "c *.x.b.example [2001:db8::1] 192.0.2.1", "d"}
	for host, want := range map[string]string{
		"a.example": "a", "A.Example": "a", "a.example:8080": "a", "a.example.": "a", "a.example.:443": "a",
		"b.example": "b", "y.b.example": "b", "z.y.b.example:1": "b", "x.b.example": "b", "1.x.b.example": "c",
		"b.example.evil": "-", "ab.example": "-", ".b.example": "-", "": "-", ":80": "-", "d": "-",
		"[2001:db8::1]": "c", "[2001:DB8::1]:443": "c", "2001:db8::1": "-", "192.0.2.1:80": "c",
		"a.example:80:80": "-", "a.example:x": "-", "a.example/": "-", "xa.example": "-",
	} {
		if got := name(table(true, "", realms...).ByHost(host)); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
		if want == "-" {
			want = "d"
		}
		if got := name(table(true, "d", realms...).ByHost(host)); got != want {
			t.Errorf("%q with a default: %s, want %s", host, got, want)
		}
	}
}

// TestP5_PathAndHost: a client that chooses the path of what its gateway asks
// about does not get into a realm whose host it is not, and no form of path is
// taken for another's name.
func TestP5_PathAndHost(t *testing.T) {
	t.Parallel()
	realms := []string{"a a.example", "b", "c *.c.example"}
	for _, c := range []struct{ path, host, want string }{
		{"/verify/a", "gateway", "a"},
		{"/verify/a", "a.example", "a"},
		{"/verify/a/", "gateway", "a"},
		{"/verify/a/any/path", "gateway", "a"},
		{"/verify/a/../b", "gateway", "a"},
		{"/verify/a/%2e%2e/b", "gateway", "a"},
		{"/verify/b", "gateway", "b"},
		{"/verify/b", "a.example", "-"},
		{"/verify/b", "x.c.example:80", "-"},
		{"/verify/a", "x.c.example", "-"},
		{"/verify/c", "x.c.example", "c"},
		{"/verify/A", "gateway", "-"},
		{"/verify/%61", "gateway", "-"},
		{"/verify/a%2Fb", "gateway", "-"},
		{"/verify/a;b", "gateway", "-"},
		{"/verify/nobody", "a.example", "-"},
		{"/verify/", "a.example", "-"},
		{"//verify/b", "a.example", "a"},
		{"/x/verify/b", "a.example", "a"},
		{"/verify", "a.example", "a"},
		{"/verifyb", "a.example", "a"},
		{"/", "a.example", "a"},
		{"/", "gateway", "-"},
		{"", "gateway", "-"},
		{"*", "gateway", "-"},
	} {
		if got := name(table(true, "", realms...).ByPath(c.path, c.host)); got != c.want {
			t.Errorf("%q at %q: %s, want %s", c.path, c.host, got, c.want)
		}
		// Without paths the host alone counts, whatever the path.
		if got, want := name(table(false, "", realms...).ByPath(c.path, c.host)), name(table(false, "", realms...).ByHost(c.host)); got != want {
			t.Errorf("%q at %q without paths: %s, want %s", c.path, c.host, got, want)
		}
	}
}

func TestCheckHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Orders.Example": "orders.example", "orders.example.": "orders.example", "*.Example": "*.example", "localhost": "localhost",
		"10.0.0.1": "10.0.0.1", "[2001:DB8::1]": "[2001:db8::1]", "xn--bcher-kva.example": "xn--bcher-kva.example", "a_b": "a_b",
		"": "", "*.": "", "*": "", "a.*.example": "", "https://a": "", "a/b": "", "a:80": "", "b\u00fccher.example": "", "a b": "",
		"a..b": "", ".a": "", "a..": "", "2001:db8::1": "", "*.[::1]": "", "a@b": "", "[]": "", "a%": "",
	} {
		got, err := CheckHost(host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", host, got, err, want)
		}
		if err == nil && name(table(true, "", "r "+got).ByHost(strings.Replace(host, "*", "x", 1))) != "r" {
			t.Errorf("%q does not cover itself", host)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"a.example", "*.b", "[::1]:80", "a:1:2", "\xff", "A.:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bare := bareHost(s)
		if again := bareHost(bare); again != bare && !strings.HasSuffix(bare, ".") && !strings.Contains(bare, ":") {
			t.Fatalf("%q: %q, then %q", s, bare, again)
		}
		host, err := CheckHost(s)
		if err != nil {
			return
		}
		if again, err := CheckHost(host); err != nil || again != host {
			t.Fatalf("%q: %q, then %q, %v", s, host, again, err)
		}
		if name(table(true, "", "r "+host).ByHost(strings.Replace(host, "*", "x", 1)+":443")) != "r" {
			t.Fatalf("%q does not cover itself", s)
		}
	})
}
