package daemon

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
)

// The page for people follows the agent, and shows no token.
func TestAdminPageFollowsTheAgent(t *testing.T) {
	a, path := startAgent(t, "")
	var draining atomic.Bool
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	at := serve(t, o.adminServer(single(a, o), &draining))
	says := func(what ...string) {
		t.Helper()
		var got reply
		until(t, "the page says "+strings.Join(what, ", "), func() bool {
			got = ask(t, "GET", at+"/")
			for _, w := range what {
				if !strings.Contains(got.body, w) {
					return false
				}
			}
			return got.code == http.StatusOK
		})
		if strings.Contains(got.body, "CANARY") {
			t.Fatal("the page shows a token")
		}
	}
	says("<h1>Not ready</h1>", path)
	write(t, path, good)
	says("<h1>Ready</h1>", fingerprint(a, 0))
	write(t, path, next+"\n"+bad+" next")
	says("<h1>Ready, rotating</h1>", fingerprint(a, 0), "Old token")
	write(t, path, good+" current-typo")
	says("<h1>Ready, with a fault</h1>", "What was accepted before stays accepted")
	draining.Store(true)
	says("<h1>Draining</h1>")
	if got := ask(t, "GET", at+"/other"); got.code != http.StatusNotFound {
		t.Errorf("GET /other: %d", got.code)
	}
	if got := ask(t, "POST", at+"/"); got.code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d", got.code)
	}
}

// fingerprint is that of the ith accepted token; "" for none.
func fingerprint(a *agent.Agent, i int) string {
	if tokens := a.Status().Sources[0].Tokens; i < len(tokens) {
		return tokens[i].Fingerprint
	}
	return ""
}
