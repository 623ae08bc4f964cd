package page_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tokenagent/tokenagent/agent"
)

func directives(t *testing.T, s shown) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for d := range strings.SplitSeq(s.header.Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(d, " ")
		found[name] = value
	}
	return found
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func TestPolicyAllowsWhatThePageHoldsAndNothingElse(t *testing.T) {
	s := show(t, options{}, good())
	d := directives(t, s)
	for tag, directive := range map[string]string{"script": "script-src", "style": "style-src"} {
		found := s.all(tag)
		if len(found) != 1 || found[0].FirstChild == nil {
			t.Fatalf("%d elements %s; want one, with content", len(found), tag)
		}
		if want := hashOf(found[0].FirstChild.Data); d[directive] != want {
			t.Errorf("%s %s; want %s", directive, d[directive], want)
		}
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
		"frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
	} {
		if d[name] != want {
			t.Errorf("%s %q; want %q", name, d[name], want)
		}
	}
	if len(d) != 10 {
		t.Errorf("directives that no test knows: %v", d)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := s.header.Get(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

// The page contains nothing that the policy blocks, and loads nothing.
func TestPageLoadsNothing(t *testing.T) {
	s := show(t, options{}, good(), good())
	for n := range s.Descendants() {
		for _, a := range n.Attr {
			switch u, err := url.Parse(a.Val); {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "src", a.Key == "srcset", a.Key == "action":
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			case a.Key != "href":
			case err != nil:
				t.Errorf("href: %v", err)
			case u.Scheme == "data" && n.Data == "link":
			case u.Scheme != "" || u.Host != "":
				t.Errorf("<%s href=%q>", n.Data, a.Val)
			}
		}
	}
}

// hostile is a name that tries to break out of its place in the page.
const hostile = `</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)>" onmouseover="x' javascript:alert(3) {{.}} &amp;`

func TestPageSaysWhateverTextAsText(t *testing.T) {
	plain := show(t, options{Host: "x"}, busy("x"))
	s := show(t, options{Host: hostile}, busy(hostile))
	elements := func(s shown) (tags []string) {
		for n := range s.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			tag := []string{n.Data}
			for _, a := range n.Attr {
				tag = append(tag, a.Key)
			}
			tags = append(tags, strings.Join(tag, " "))
		}
		return tags
	}
	if a, b := elements(plain), elements(s); !slices.Equal(a, b) {
		t.Errorf("hostile text changes what the page consists of:\n%q\n%q", a, b)
	}
	if d, p := directives(t, s), directives(t, plain); d["script-src"] != p["script-src"] || hashOf(s.all("script")[0].FirstChild.Data) != p["script-src"] {
		t.Error("hostile text changes the script")
	}
	flat := strings.Join(strings.Fields(hostile), " ")
	if got := strings.Count(text(s.Node), flat); got < 9 {
		t.Errorf("the page says it %d times", got)
	}
	hosts := 0
	for _, n := range s.all("strong") {
		if attr(n, "class") == "host" && n.FirstChild.Data == hostile {
			hosts++
		}
	}
	if hosts != 2 {
		t.Errorf("%d hosts shown as they are; want 2", hosts)
	}
}

// busy is a source that fills every part of the page, with what in every place for text.
func busy(what string) agent.SourceStatus {
	s := good(
		agent.TokenStatus{Client: what, Slot: "current", Fingerprint: what, KeyID: what, Algorithm: what, Expires: later(hour)},
		agent.TokenStatus{Client: what, Slot: "previous", Fingerprint: "aaaa0002", Deadline: later(hour), Cap: later(2 * hour), LastUsed: ago(hour)},
	)
	s.Name, s.Kind, s.Location, s.WatchMode = what, what, what, what
	s.Error, s.StateError, s.StateFile, s.Limits = what, what, what, []string{what}
	s.PreviousUsers = []agent.PreviousUser{
		{Client: what, Host: what, Fingerprint: "aaaa0002", First: ago(hour), Last: ago(hour)},
		{Host: what, Fingerprint: "aaaa0003", First: ago(hour), Last: ago(hour)},
	}
	return s
}
