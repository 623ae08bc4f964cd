package realm

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// table returns a Table of realms with the hosts that follow their names.
func table(paths bool, fallback string, realms ...string) *Table {
	var all []*Realm
	for _, r := range realms {
		f := strings.Fields(r)
		all = append(all, &Realm{Name: f[0], Hosts: f[1:]})
	}
	return newTable(all, &Plan{Paths: paths, Default: fallback}, httpauth.Options{})
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
		"a.example": "a", "A.Example": "a", "a.example:8080": "a", "a.example.": "a", "a.example.:443": "a", "A.EXAMPLE.:99999": "a",
		"b.example": "b", "y.b.example": "b", "z.y.b.example:1": "b", "x.b.example": "b", "1.x.b.example": "c", "-_.b.example": "b",
		"[2001:db8::1]": "c", "[2001:DB8::1]:443": "c", "[2001:0db8:0::0001]": "c", "192.0.2.1:80": "c", "192.0.2.1.": "c",
		"b.example.evil": "d", "ab.example": "d", "d": "d", "xa.example": "d", "[2001:db8::2]": "d", "a": "d",
	} {
		if got := name(table(true, "d", realms...).ByHost(host)); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
		if want == "d" {
			if got := name(table(true, "", realms...).ByHost(host)); got != "-" {
				t.Errorf("%q without a default: %s", host, got)
			}
		}
	}
}

// malformed returns hosts that some programs read as a.example or x.b.example, and text
// that is no host at all.
func malformed() []string {
	hosts := []string{
		"", ":", ":80", ".", "..", ".:80", "[", "]", "[]", "[]:80", "[:80", "[::1", "[::1]80", "[::1]:", "[::1]:x", "[::1]:80:80", "[::1].b.example",
		"[::1%eth0]", "[::1%25eth0]", "[1.2.3.4]", "[a.example]", "::1", "2001:db8::1", "[[::1]]", "::1]", "a.example[::1]", "*", "*.b.example", "a*",
		"a.example@x.b.example", "b\u00fccher.example", "\uff41.example", "a.example\u3002", "http://a.example", "//a.example",
	}
	for _, host := range []string{"a.example", "x.b.example", "A.EXAMPLE", "192.0.2.1", "other"} {
		for _, suffix := range []string{
			":", ":x", ":80x", ":-1", ":+1", ":0x50", ":8 0", ": 80", ":80 ", ":80:80", "::80", ":80.", ":80.x.b.example", ":.x.b.example", ".:", ".:x", "..", "..:80",
			"/", "/.x.b.example", "/x", "?", "#", "\\", "\\.x.b.example", ";", ",", ", x.b.example", ",x.b.example", " ", "\t", "\n", "\r\n", "\x00", "\x7f", "%", "%00", "%2e", "%3a80",
			" x.b.example", "..x.b.example", "@x.b.example", "$", "'", "(", "!", "~", "*", "\"", "<", "=", "&", "|", "^", "`", "{", "\xff", "\u00e9", ":\u0661",
		} {
			hosts = append(hosts, host+suffix)
		}
		for _, prefix := range []string{".", " ", "\t", "@", "user@", "user:password@", "x:80@", "%", "/", "//", "*", "*.", "\xff", ":", "[", ","} {
			hosts = append(hosts, prefix+host)
		}
	}
	return hosts
}

// TestP5_MalformedHostIsOfNoRealm, not even of the default realm, or of a realm that the
// path names.
func TestP5_MalformedHostIsOfNoRealm(t *testing.T) {
	t.Parallel()
	table := table(true, "d", "a a.example 192.0.2.1", "b *.b.example", "d")
	for _, host := range malformed() {
		if got := name(table.ByHost(host)); got != "-" {
			t.Errorf("%q: %s", host, got)
		}
		for _, path := range []string{"/verify/a", "/verify/d/x", "/verify/nobody", "/", ""} {
			if got := name(table.ByPath(path, host)); got != "-" {
				t.Errorf("%q at %q: %s", path, host, got)
			}
		}
	}
}

func TestParseHostAllocatesNothing(t *testing.T) {
	for _, host := range []string{"orders.example.com", "orders.example.com.:8080", "192.0.2.1:80", "x:y", ""} {
		if n := testing.AllocsPerRun(100, func() { ParseHost(host) }); n != 0 {
			t.Errorf("%q: %v allocations", host, n)
		}
	}
}

// TestP5_PathAndHost checks that a client that can choose the path does not get into a
// realm of another host, and that a realm's name has no other form in a path.
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
		{"/verify/a", "", "-"},
		{"/verify/a", "a.example:x", "-"},
		{"/x/verify/b", "a.example", "a"},
		{"/verifyb", "a.example", "a"},
		{"/", "a.example", "a"},
		{"/", "gateway", "-"},
		{"", "gateway", "-"},
		{"*", "gateway", "-"},
	} {
		if got := name(table(true, "", realms...).ByPath(c.path, c.host)); got != c.want {
			t.Errorf("%q at %q: %s, want %s", c.path, c.host, got, c.want)
		}
		// Without Paths only the host counts.
		if got, want := name(table(false, "", realms...).ByPath(c.path, c.host)), name(table(false, "", realms...).ByHost(c.host)); got != want {
			t.Errorf("%q at %q without paths: %s, want %s", c.path, c.host, got, want)
		}
	}
}

// TestP5_NearlyAVerifyPathIsOfNoRealm checks that the default realm does not answer for pay
// at paths such as //verify/pay, which a gateway asks at if its base URL ends in '/'.
func TestP5_NearlyAVerifyPathIsOfNoRealm(t *testing.T) {
	t.Parallel()
	table := table(true, "orders", "orders orders.example", "pay")
	for _, path := range []string{
		"//verify/pay", "///verify//pay", "/Verify/pay", "/VERIFY/pay/x", "/verify%2fpay", "/verify%2Fpay", "/%76erify/pay", "/%2fverify/pay", "/%2F/verify/pay",
		"/./verify/pay", "/x/../verify/pay", "/%2e/verify/pay", "/x/%2e%2e/verify/pay", "/verify", "//verify", "/VERIFY", "/verify/.", "/verify//pay", "/verify/./pay", "/%zz",
		"/verify;x/pay", "/;x/verify/pay", "/verify%3bx/pay", `/verify\pay`, "/verify%5cpay", "/verify%5Cpay", `/x\..\verify\pay`, "/verify./pay", "/verify../pay", "/verify.", "/verify;x",
		"/%2576erify/pay", "/%252fverify/pay", "/%252576erify/pay", "/verify%252fpay", "/verify%2fpay%25zz", "/%25252525252576erify/pay",
	} {
		for _, host := range []string{"gateway", "orders.example"} {
			if got := name(table.ByPath(path, host)); got != "-" {
				t.Errorf("%q at %q: %s", path, host, got)
			}
		}
	}
	for _, path := range []string{"/", "", "*", "/verifypay", "/verify-pay", "/x/verify/pay", "/verified/pay", "/veri/fy/pay", "/x;/verify/pay", "/100%25", "/a%25zz", "/verifyp;/verify/pay"} {
		if got := name(table.ByPath(path, "gateway")); got != "orders" {
			t.Errorf("%q: %s", path, got)
		}
	}
}

func TestCheckHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Orders.Example": "orders.example", "orders.example.": "orders.example", "*.Example": "*.example", "localhost": "localhost",
		"10.0.0.1": "10.0.0.1", "[2001:DB8::1]": "[2001:db8::1]", "xn--bcher-kva.example": "xn--bcher-kva.example", "a_b": "a_b",
		"": "", "*.": "", "*": "", "a.*.example": "", "https://a": "", "a/b": "", "a:80": "", "b\u00fccher.example": "", "a b": "",
		"a..b": "", ".a": "", "a..": "", "[2001:db8:0::1]": "[2001:db8::1]", "[fe80::1%eth0]": "", "[abc]": "", "[1.2.3.4]": "", "[::1]:80": "", ".": "", "*.a.": "*.a", "2001:db8::1": "", "*.[::1]": "", "a@b": "", "[]": "", "a%": "",
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

// hostForm matches a valid Host. It does not check the form of an IPv6 address.
var hostForm = regexp.MustCompile(`^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

func FuzzHost(f *testing.F) {
	for _, s := range append(malformed(), "a.example", "*.b", "[::1]:80", "A.:0", "[::FFFF:1.2.3.4]:1") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, ok := ParseHost(s)
		form := hostForm.FindStringSubmatch(s)
		if ok && form == nil {
			t.Fatalf("%q is accepted as %q", s, host)
		}
		if !ok && form != nil && form[1][0] != '[' {
			t.Fatalf("%q is refused", s)
		}
		if again, still := ParseHost(host); ok && (again != host || !still) {
			t.Fatalf("%q: %q, then %q, %t", s, host, again, still)
		}
		if ok && form[1][0] != '[' && host != strings.ToLower(strings.TrimSuffix(form[1], ".")) {
			t.Fatalf("%q: %q", s, host)
		}
		checked, err := CheckHost(s)
		if err != nil {
			return
		}
		if again, err := CheckHost(checked); err != nil || again != checked {
			t.Fatalf("%q: %q, then %q, %v", s, checked, again, err)
		}
		if name(table(true, "", "r "+checked).ByHost(strings.Replace(checked, "*", "x", 1)+":443")) != "r" {
			t.Fatalf("%q does not cover itself", s)
		}
	})
}
