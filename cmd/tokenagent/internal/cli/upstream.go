package cli

import (
	"net/url"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// parseUpstream parses --upstream: a scheme, host and port or, for a Unix socket,
// unix:///path for HTTP/1.1 and h2c+unix:///path for h2c. The path is absolute, and '%' has
// no special meaning in it, as in --listen.
func parseUpstream(text string) (*url.URL, error) {
	scheme, path, _ := strings.Cut(text, "://")
	if scheme == "unix" || scheme == "h2c+unix" {
		if len(path) < 2 || path[0] != '/' || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#\x00") {
			return nil, exitcode.Usage("--upstream %s:// must be followed by the absolute path of a socket, such as %s:///run/app.sock", scheme, scheme)
		}
		return &url.URL{Scheme: scheme, Path: path}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, exitcode.Usage("--upstream must be a URL with host and port alone, such as http://127.0.0.1:3000, or unix:///path")
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c" {
		return nil, exitcode.Usage("--upstream must begin with http://, https://, h2c://, unix:// or h2c+unix://")
	}
	return u, nil
}
