package clientfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// reloadInterval is the shortest time between two reads of the files of a Transport.
	reloadInterval = time.Second
	// staleAfter is how long after a read requests do not wait for the next one.
	staleAfter = 10 * time.Second
	// maxWait is how long after its beginning a read delays requests.
	maxWait = time.Second
)

// A Transport is an [http.RoundTripper] for requests to one server over https. It trusts the
// CA certificates of its Files and sends their bearer token. A request causes a read of the
// files, but at most one a second. It waits for the read only if the last one was more than
// 10 s ago, and then at most a second: a read may hang, as on a dead mount. Connections are
// kept until the CA certificates change. Proxies come from the environment. Use NewTransport;
// the zero Transport is not usable. All methods are safe for concurrent use.
type Transport struct {
	files *Files
	host  string

	mu    sync.Mutex
	read  time.Time       // when the last read ended
	began time.Time       // when the last read began
	ended chan struct{}   // closed at the end of the read that runs; nil if none does
	roots *x509.CertPool  // that base trusts
	base  *http.Transport // nil before the first request
}

// NewTransport returns the Transport for the server host, which has the form "name:port", as
// in a URL.
func NewTransport(files *Files, host string) *Transport {
	return &Transport{files: files, host: host}
}

// ErrFiles is the error of a request that is not made because a file has never been valid.
var ErrFiles = errors.New("no request without its files")

// errOtherServer refuses a request that must not get the bearer token.
var errOtherServer = errors.New("the request is not for the server of the bearer token")

// RoundTrip implements [http.RoundTripper]. It makes no request if a file has never been
// valid, which is ErrFiles, or if the request is for another host or not for https.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != t.host {
		closeBody(r)
		return nil, errOtherServer
	}
	base, err := t.current(r.Context())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	if token, ok := t.files.Bearer(); ok {
		r = r.Clone(r.Context()) // a RoundTripper must not change the request
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return base.RoundTrip(r)
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// refresh begins a read of the files if that is due, and waits for it if it must.
func (t *Transport) refresh(ctx context.Context) {
	t.mu.Lock()
	now := time.Now()
	if t.ended == nil && now.Sub(t.began) >= reloadInterval {
		t.began, t.ended = now, make(chan struct{})
		go t.reload()
	}
	ended, wait := t.ended, maxWait-now.Sub(t.began)
	fresh := now.Sub(t.read) < staleAfter
	t.mu.Unlock()
	if ended == nil || fresh || wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reload reads the files.
func (t *Transport) reload() {
	t.files.Reload()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = time.Now()
	close(t.ended)
	t.ended = nil
}

// current returns a transport that trusts the CA certificates of the files. It does not wait
// for a read longer than ctx lasts.
func (t *Transport) current(ctx context.Context) (*http.Transport, error) {
	t.refresh(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.files.Missing(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	if roots, _ := t.files.CA(); t.base == nil || roots != t.roots {
		t.closeIdle()
		t.roots = roots
		t.base = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    10 * time.Second,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    16,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}
	}
	return t.base, nil
}

// CloseIdleConnections closes the connections that no request uses. [http.Client] has a
// method of this name that calls it.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeIdle()
}

func (t *Transport) closeIdle() {
	if t.base != nil {
		t.base.CloseIdleConnections()
	}
}
