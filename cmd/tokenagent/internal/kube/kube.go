// Package kube is a small client of the Kubernetes API, for what a rotation needs: Secrets,
// the endpoints of a Service, rollouts, pods and events. It speaks to the API server as the
// pod's service account ([InCluster]), or through the user's kubectl ([Kubectl]), so that
// every kind of login works.
//
// It is not client-go, because that links the types of the whole API: a program that reads and
// replaces one Secret has 38.0 MB with client-go 0.34 and 6.4 MB with this package (stripped,
// linux/amd64), and takes 28 MB of memory instead of 8 MB.
//
// Errors are of type [*Error]. They name the object and the fix, and quote nothing that
// the API server says of a Secret that was sent to it.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// maxAnswer bounds what is read of one answer, in bytes: a page of Secrets of 1 MiB each
	// would be more, so pages are small.
	maxAnswer = 64 << 20
	// pageSize is how many objects one page of a list has at most.
	pageSize = 50
	// timeout bounds one request, in which the API server may be busy for a while.
	timeout = 30 * time.Second
	// maxTries bounds how often a request is sent that the API server puts off.
	maxTries = 5
	// maxPutOff bounds how long one Retry-After is followed.
	maxPutOff = time.Minute
)

// A transport sends one request to the API server. path has the query. It returns the body
// of an answer that is a success, and otherwise an error.
type transport interface {
	do(ctx context.Context, method, path string, body []byte) (answer, error)
}

// An answer is a success.
type answer struct {
	body []byte
	date time.Time // the API server's; zero if unknown
}

// A Client is safe for concurrent use.
type Client struct {
	transport transport

	mu    sync.Mutex
	date  time.Time // the API server's time of an answer
	taken time.Time // our time of the same answer
}

// New returns a Client of the API server at base, such as https://10.0.0.1:443, that sends
// its requests by rt.
func New(base string, rt http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of an API server; it must be such as https://10.0.0.1:443", base)
	}
	return &Client{transport: &httpTransport{base: u.Scheme + "://" + u.Host, client: &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}}, nil
}

// Now returns the API server's time, to within a second, as its last answer said. If no
// answer had a date, it is the time of this machine. A change of this machine's clock does
// not change it.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Now()
	}
	return c.date.Add(time.Since(c.taken))
}

// send sends a request about an object, and decodes the answer into out unless it is nil.
// If the API server puts the request off, it is sent again when the API server says.
func (c *Client) send(ctx context.Context, method, path string, about object, body []byte, out any) error {
	for try := 1; ; try++ {
		a, err := c.once(ctx, method, path, body)
		if err == nil {
			if out == nil {
				return nil
			}
			if json.Unmarshal(a.body, out) == nil {
				return nil
			}
			err = &Error{Reason: Broken}
		}
		e := asError(err)
		e.method, e.object = method, about
		if about.kind == "secret" && body != nil {
			e.said = "" // it may quote what was sent
		}
		if e.RetryAfter == 0 || try == maxTries {
			return e
		}
		t := time.NewTimer(min(e.RetryAfter, maxPutOff))
		select {
		case <-ctx.Done():
			t.Stop()
			return e
		case <-t.C:
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a, err := c.transport.do(ctx, method, path, body)
	if err == nil && !a.date.IsZero() {
		c.mu.Lock()
		c.date, c.taken = a.date, time.Now()
		c.mu.Unlock()
	}
	return a, err
}

// list reads all pages of the list at path, and calls each with every item.
func (c *Client) list(ctx context.Context, path string, query url.Values, about object, each func(json.RawMessage) error) error {
	query.Set("limit", strconv.Itoa(pageSize))
	for {
		var page struct {
			Metadata struct{ Continue string }
			Items    []json.RawMessage
		}
		if err := c.send(ctx, http.MethodGet, path+"?"+query.Encode(), about, nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// dryRun is the query of a request that changes nothing.
func dryRun(path string, is bool) string {
	if is {
		return path + "?dryRun=All"
	}
	return path
}
