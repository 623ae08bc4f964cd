package wire_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestHostsFind(t *testing.T) {
	for _, c := range []struct {
		host, scheme, authority string
		found                   bool
	}{
		{"api.example", "https", "api.example", true},
		{"api.example", "https", "API.Example", true},
		{"API.Example", "https", "api.example", true},
		{"api.example", "https", "api.example:443", true},
		{"api.example", "https", "api.example:", true},
		{"api.example:443", "https", "api.example", true},
		{"api.example", "http", "api.example", true},
		{"api.example", "http", "api.example:80", true},
		{"api.example:80", "http", "api.example", true},
		{"api.example:8443", "https", "api.example:8443", true},
		{"api.example:443", "http", "api.example:443", true},

		{"api.example", "https", "api.example:8443", false},
		{"api.example", "https", "api.example:80", false},
		{"api.example", "http", "api.example:443", false},
		{"api.example:443", "http", "api.example", false},
		{"api.example:80", "https", "api.example", false},
		{"api.example:8443", "https", "api.example", false},
		{"api.example:8443", "https", "api.example:08443", false},
		{"api.example", "ftp", "api.example", false},
		{"api.example", "HTTPS", "api.example", false},
		{"api.example", "", "api.example", false},
		{"api.example:443", "", "api.example:443", true},
		{"api.example", "https", "api.example.", false},
		{"api.example", "https", "api.example.evil.example", false},
		{"api.example", "https", "www.api.example", false},
		{"api.example", "https", "evil-api.example", false},
		{"api.example", "https", "user@api.example", false},
		{"api.example", "https", "api.example@evil.example", false},
		{"api.example", "https", "api.example:443:443", false},
		{"api.example", "https", "[api.example]", false},
		{"api.example", "https", "", false},
		{"k.example", "https", "\u212a.example", false}, // the Kelvin sign folds to k
		{"xn--bcher-kva.example", "https", "b\u00fccher.example", false},

		{"127.0.0.1:3500", "http", "127.0.0.1:3500", true},
		{"127.0.0.1:3500", "http", "localhost:3500", false},
		{"localhost:3500", "http", "127.0.0.1:3500", false},
		{"127.0.0.1", "http", "127.1", false},
		{"[::1]:3500", "http", "[::1]:3500", true},
		{"[::1]", "https", "[::1]", true},
		{"[::1]", "https", "[0:0:0:0:0:0:0:1]:443", true},
		{"[2001:DB8::a]", "https", "[2001:db8:0::A]", true},
		{"[::1]", "https", "::1", false},
		{"[::1]", "https", "[::1", false},
		{"[::1]", "https", "[::1]443", false},
		{"[::1]", "https", "[::2]", false},
		{"[::ffff:127.0.0.1]", "https", "127.0.0.1", false},
		{"127.0.0.1", "https", "[::ffff:127.0.0.1]", false},
		{"127.0.0.1", "https", "[127.0.0.1]", false},
		{"[fe80::1%eth0]", "https", "[fe80::1%eth0]", true},
		{"[fe80::1%eth0]", "https", "[fe80::1%ETH0]", false},
		{"[fe80::1%eth0]", "https", "[fe80::1]", false},
	} {
		hs, err := wire.ParseHosts([]string{"other.example", c.host})
		if err != nil {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		if got := hs.Find(c.scheme, c.authority) != nil; got != c.found {
			t.Errorf("%s is %s with scheme %q: %t, want %t", c.authority, c.host, c.scheme, got, c.found)
		}
	}
}

func TestHostsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:3500": true, "127.0.0.1": true, "127.255.0.9:1": true, "[::1]": true, "[0::1]:50001": true, "[::ffff:127.0.0.1]": true,
		"localhost.": false, "a.localhost": false, "localhost.example": false, "127.1": false, "128.0.0.1": false, "0.0.0.0": false,
		"10.0.0.1": false, "[::]": false, "[::2]": false, "127.0.0.1.example": false, "127.0.0.01": false,
	} {
		hs, err := wire.ParseHosts([]string{host})
		if err != nil || hs[0].Loopback != want || hs.AnyLoopback() != want {
			t.Errorf("%s: loopback %t, %v; want %t", host, hs[0].Loopback, err, want)
		}
	}
}

func TestParseHostsRefuses(t *testing.T) {
	for _, host := range []string{
		"", ":", ":80", "a:", "a:0", "a:65536", "a:080", "a:+80", "a:http", "a:1:2", "a b", " a", "a\n", "*", "*.example", "a/", "https://a", "a/b", "u@a", "a?b", "a%41",
		"b\u00fccher.example", "::1", "::1:80", "[::1", "[]", "[::1]:", "[::1]x", "[::1]:x", "[127.0.0.1]", "[a]", "the canary",
	} {
		_, err := wire.ParseHosts([]string{"ok", host})
		if err == nil || !strings.HasPrefix(err.Error(), "Hosts[1] ") {
			t.Errorf("ParseHosts accepts %q, or does not say which it refuses: %v", host, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the entry: %v", err)
		}
	}
	for _, none := range [][]string{nil, {}} {
		if _, err := wire.ParseHosts(none); err == nil || !strings.Contains(err.Error(), "Hosts is empty") {
			t.Errorf("ParseHosts(%q) = %v", none, err)
		}
	}
}

// FuzzHosts: an authority that Find accepts has the configured host and port, apart
// from case and the spelling of an address.
func FuzzHosts(f *testing.F) {
	f.Add("api.example:8443", "API.example:8443")
	f.Add("api.example", "api.example:443")
	f.Add("[::1]:80", "[0::1]:80")
	f.Add("a", "a@b")
	f.Fuzz(func(t *testing.T, host, authority string) {
		hs, err := wire.ParseHosts([]string{host})
		if err != nil {
			return
		}
		if hs.Find("https", host) == nil {
			t.Fatalf("%q does not find itself", host)
		}
		if hs.Find("https", authority) == nil {
			return
		}
		want, got := &url.URL{Host: host}, &url.URL{Host: authority}
		port := func(u *url.URL) string { return strings.TrimSuffix(":"+u.Port(), ":443") }
		if strings.TrimSuffix(port(want), ":") != strings.TrimSuffix(port(got), ":") {
			t.Fatalf("%q finds %q: another port", authority, host)
		}
		if strings.HasPrefix(host, "[") {
			return
		}
		if !strings.EqualFold(got.Hostname(), want.Hostname()) {
			t.Fatalf("%q finds %q: another host", authority, host)
		}
		for i := range len(authority) {
			if authority[i] >= 0x80 {
				t.Fatalf("%q finds %q: not in ASCII", authority, host)
			}
		}
	})
}
