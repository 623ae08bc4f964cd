package cli

import (
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

func TestUpstreamForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://127.0.0.1:3000": "http", "https://app:8443/": "https", "h2c://[::1]:50051": "h2c",
		"unix:///run/app.sock": "unix", "h2c+unix:///run/a b%2F.sock": "h2c+unix",
	} {
		if u, err := parseUpstream(text); err != nil || u.Scheme != want {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
	if u, err := parseUpstream("h2c+unix:///run/a b%2F.sock"); err != nil || u.Path != "/run/a b%2F.sock" {
		t.Errorf("the path is decoded: %v, %v", u, err)
	}
	for _, text := range []string{
		"unix://", "unix:///", "unix://run/app.sock", "unix:/run/app.sock", "unix:///run/", "unix:///a?b", "h2c+unix://x", "https+unix:///a",
		"http://", "http://u:p@host", "http://host/path", "http://host?x", "http://host/?x", "http://host#x", "ftp://host", "127.0.0.1:3000", "http://%zz",
	} {
		if u, err := parseUpstream(text); err == nil || exitcode.Of(err) != 2 {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}
