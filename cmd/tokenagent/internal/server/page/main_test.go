package page_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/server/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is when the pages of the tests are made: when synctest's clock begins.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time   { return now.Add(-d) }
func later(d time.Duration) time.Time { return now.Add(d) }

// good returns the status of a source with nothing wrong.
func good(tokens ...agent.TokenStatus) agent.SourceStatus {
	if len(tokens) == 0 {
		tokens = []agent.TokenStatus{{Slot: "current", Fingerprint: "aaaa0001", Declared: true, Since: ago(90 * time.Minute)}}
	}
	return agent.SourceStatus{
		Name: "token", Kind: "file", Location: "/run/secrets/app", Ready: true, Generation: 1, WatchMode: "events",
		LastReloadGood: true, LastReloadSuccess: ago(3 * time.Second), LastChange: ago(90 * time.Minute), Tokens: tokens,
	}
}

// A shown is a page as a browser reads it.
type shown struct {
	*html.Node
	header http.Header
	raw    string
}

// options say what a page shows: sources, unless there is a Status.
type options struct {
	Status   func() realm.Status
	Draining bool
	Host     string
}

func show(t *testing.T, o options, sources ...agent.SourceStatus) (s shown) {
	t.Helper()
	ready := !slices.ContainsFunc(sources, func(s agent.SourceStatus) bool { return !s.Ready })
	if o.Status == nil {
		o.Status = func() realm.Status {
			return realm.Status{Draining: o.Draining, Status: agent.Status{Schema: 1, Ready: ready && !o.Draining, Version: "v1.2.3", Sources: sources}}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		page.Handler(o.Status, o.Host).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		doc, err := html.Parse(strings.NewReader(w.Body.String()))
		if err != nil {
			t.Fatal(err)
		}
		s = shown{doc, w.Header(), w.Body.String()}
	})
	return s
}

// all returns the elements called tag.
func (s shown) all(tag string) (found []*html.Node) {
	for n := range s.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			found = append(found, n)
		}
	}
	return found
}

// text returns what n says, with single spaces, style and script left out.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode && c.Parent.Data != "style" && c.Parent.Data != "script" {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (s shown) headline(t *testing.T) string {
	t.Helper()
	h := s.all("h1")
	if len(h) != 1 {
		t.Fatalf("%d headlines", len(h))
	}
	return text(h[0])
}

func (s shown) mustSay(t *testing.T, what ...string) {
	t.Helper()
	all := text(s.Node)
	for _, w := range what {
		if !strings.Contains(all, w) {
			t.Errorf("the page does not say %q:\n%s", w, all)
		}
	}
}
