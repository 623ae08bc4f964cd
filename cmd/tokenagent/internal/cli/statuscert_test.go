package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

func TestStatusShowsCertificates(t *testing.T) {
	now := time.Now()
	s := realm.Status{Status: agent.Status{Schema: 1, Ready: true}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s) }))
	defer server.Close()
	status := func(more ...string) outcome {
		return invoke(t, "", append([]string{"status", "--agent", server.URL}, more...)...)
	}
	if o := status(); strings.Contains(o.out, "certificate") {
		t.Errorf("certificates without TLS:\n%s", o.out)
	}
	later := now.Add(30*24*time.Hour + time.Hour)
	s.Certificates = []listener.Status{
		{Listener: "listen", NotAfter: later, Good: true, LastChange: now},
		{Listener: "admin-listen", NotAfter: now.Add(3 * time.Hour), Good: true, ClientCerts: true, LastChange: now},
	}
	status().want(t, 0, "certificate of listen: good until "+later.UTC().Format(time.RFC3339)+", another 30 days, last change",
		"certificate of admin-listen: good until ", "ago, clients must present one too\n")
	status("--output", "json").want(t, 0, `"not_after"`)
	for name, c := range map[string]struct {
		bad  listener.Status
		says string
	}{
		"an error": {listener.Status{Listener: "listen", NotAfter: later, Error: "/tls.key is not the key\x1b[2J"}, "  error /tls.key is not the key\\u001b[2J\n"},
		"expired":  {listener.Status{Listener: "listen", NotAfter: now, Good: true}, "EXPIRED at "},
	} {
		s.Certificates[0] = c.bad
		o := status()
		if o.want(t, 1, c.says); strings.Contains(o.out, "\x1b") {
			t.Errorf("%s: a control character reaches the terminal", name)
		}
		status("--output", "json").want(t, 1)
	}
}
