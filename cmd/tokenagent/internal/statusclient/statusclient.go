// Package statusclient reads the /status of running agents' admin ports.
package statusclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// maxStatus bounds what is read as a status, in bytes.
const maxStatus = 16 << 20

// ErrURL says that an agent is named in a form that cannot be asked.
var ErrURL = errors.New("must be a URL such as http://127.0.0.1:9464, or unix:///path")

// An Answer is what an agent said.
type Answer struct {
	Status *realm.Status
	// At is when the agent said it, by its own clock, to within a second (RFC
	// 9110 section 6.6.1), so that its times can be compared whatever ours is.
	// An answer without a date has our time.
	At time.Time
}

// Check reports whether base names an admin port: http://host:port,
// https://host:port or unix:///path, without a query. The error is ErrURL and quotes nothing,
// since what went astray might be a secret.
func Check(base string) error {
	_, _, err := split(base)
	return err
}

// split returns the URL to ask and, for a Unix socket, its path.
func split(base string) (u *url.URL, socket string, err error) {
	if strings.ContainsAny(base, "?#") { // it would be shown where nobody answers
		return nil, "", ErrURL
	}
	if path, ok := strings.CutPrefix(base, "unix://"); ok {
		if path == "" {
			return nil, "", ErrURL
		}
		return &url.URL{Scheme: "http", Host: "agent"}, path, nil
	}
	u, err = url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, "", ErrURL
	}
	return u, "", nil
}

// A Client asks admin ports. The zero Client is ready to use, and safe for
// concurrent use.
type Client struct {
	// TLS is how it speaks to an https one; nil means the default: the system's
	// authorities, and no certificate of its own.
	TLS *tls.Config
}

// Ask asks by the zero Client.
func Ask(ctx context.Context, base string) (Answer, error) { return new(Client).Ask(ctx, base) }

// Ask fetches /status from the admin port at base, until ctx ends. The error
// is ErrURL where base has the wrong form; any other says in words why there
// is no status. A redirect is none.
func (c *Client) Ask(ctx context.Context, base string) (Answer, error) {
	u, socket, err := split(base)
	if err != nil {
		return Answer{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.TLS}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("status").String(), nil)
	if err != nil {
		return Answer{}, ErrURL
	}
	client := &http.Client{
		Transport: transport,
		// Whoever stands there would answer for the agent that was named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return Answer{}, fmt.Errorf("%s shows a certificate of an authority that is not trusted; name that in --agent-ca-file", u.Host)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("no answer from the agent: %w; is it running, and is --agent its --admin-listen?", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return Answer{}, fmt.Errorf("%s answers %s, a redirect, which is not followed: another agent's answer would count for this one; --agent must be the admin port itself", u.Host, termsafe.Text(res.Status))
	}
	if res.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("%s answers %s; --agent must be the admin port of a tokenagent", u.Host, termsafe.Text(res.Status))
	}
	a := Answer{Status: new(realm.Status), At: time.Now()}
	if at, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		a.At = at
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxStatus)).Decode(a.Status); err != nil {
		return Answer{}, fmt.Errorf("%s does not answer with a status; --agent must be the admin port of a tokenagent", u.Host)
	}
	if a.Status.Schema != agent.StatusSchema {
		return Answer{}, fmt.Errorf("the agent's status has schema %d, this program knows %d; use the version of the agent", a.Status.Schema, agent.StatusSchema)
	}
	return a, nil
}
