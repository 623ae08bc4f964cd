package httpauth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// TestP7_NoTokenInAnyAnswer: no part of a token that was sent appears in a status line, a
// header, a body, a trailer or an error.
func TestP7_NoTokenInAnyAnswer(t *testing.T) {
	o := httpauth.Options{Exempt: []string{"/open"}}
	s, g := serve(t, &fake{}, o), httpauth.New(&fake{}, o)
	for major, client := range clients(t) {
		for _, token := range []string{good, old, expired, revoked, unavailable, broken, "canary", "canary-good-0123456788", " canary", "canary, canary"} {
			for _, header := range []http.Header{
				{"Dapr-Api-Token": {token}},
				{"Dapr-Api-Token": {token, token}},
				{"Authorization": {"Bearer " + token}},
				{"Authorization": {"Basic " + token}},
				{"Authorization": {token}},
				{"Content-Type": {"application/grpc"}, "Dapr-Api-Token": {token}},
			} {
				for _, path := range []string{"/", "/open", "/a.B/C", "/?t=" + url.QueryEscape(token)} {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, http.NoBody)
					if err != nil {
						t.Fatal(err)
					}
					r.Header = header.Clone()
					if _, err := g.Authenticate(r.Clone(t.Context())); err != nil && strings.Contains(err.Error(), "canary") {
						t.Errorf("HTTP %d: error %q", major, err)
					}
					resp, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if said := fmt.Sprintf("%s %v %s %v %v", resp.Status, resp.Header, body, resp.Trailer, err); strings.Contains(said, "canary") {
						t.Errorf("HTTP %d, %v %s: %s", major, header, path, said)
					}
				}
			}
		}
	}
}
