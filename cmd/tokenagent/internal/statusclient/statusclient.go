// Package statusclient requests /status from the admin ports of running agents.
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

// maxStatus is the maximum size of a status in bytes.
const maxStatus = 16 << 20

// ErrURL is the error for an admin port in a form that [Check] does not accept.
var ErrURL = errors.New("must be a URL such as http://127.0.0.1:9464, or unix:///path")

// An Answer is the status of an agent.
type Answer struct {
	Status *realm.Status
	// At is the time of the answer by the agent's clock, to within a second (RFC 9110
	// section 6.6.1). Compare the times in Status with At, because the clock of this
	// machine may differ. If the answer has no Date, At is the time of this machine.
	At time.Time
}

// Check returns nil if base names an admin port: http://host:port, https://host:port or
// unix:///path, without a query. Otherwise it returns ErrURL, which does not quote base,
// because base may be a secret by mistake.
func Check(base string) error {
	_, _, err := split(base)
	return err
}

// split returns the URL to ask and, for a Unix socket, its path.
func split(base string) (u *url.URL, socket string, err error) {
	if strings.ContainsAny(base, "?#") { // a query may contain a secret, and errors quote the URL
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
	// TLS is the configuration for https; nil means the system's CA certificates and no
	// client certificate.
	TLS *tls.Config
}

// Ask fetches /status from the admin port at base, until ctx ends. The error is ErrURL
// if base has the wrong form; any other error says why there is no status. A redirect is
// an error.
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
		// After a redirect, the answer could come from another agent.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return Answer{}, fmt.Errorf("%s presents a certificate of an untrusted CA; give the CA's certificate in --agent-ca-file", u.Host)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("no answer from the agent: %w; is it running, and is --agent its --admin-listen?", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 == 3 {
		return Answer{}, fmt.Errorf("%s answers %s, a redirect, which may lead to another agent; --agent must be the admin port itself", u.Host, termsafe.Text(res.Status))
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
		return Answer{}, fmt.Errorf("the agent's status has schema %d, and this program knows %d; use the same version as the agent", a.Status.Schema, agent.StatusSchema)
	}
	return a, nil
}
