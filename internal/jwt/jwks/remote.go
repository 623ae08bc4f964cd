package jwks

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/clientfiles"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// RemoteOptions configure a RemoteSource. The zero RemoteOptions are valid. agent.JWKS
// describes the fields that embedders set.
type RemoteOptions struct {
	Client     *http.Client // nil means the zero http.Client
	CAFile     string
	BearerFile string // errors of this file and of CAFile are in SideError
	MaxStale   time.Duration
	// Algorithm and TrustDomain are the same as in ParseOptions.
	Algorithm, TrustDomain string
	// Logger receives the errors that SideError returns, once per error, and changes of the
	// address of the keys. nil discards them.
	Logger *slog.Logger
}

// A RemoteSource is the JWKS at a URL, as a [reload.Source]. Use [Remote] or [Discover] to
// create one; the zero RemoteSource is not usable. All methods are safe for concurrent use.
//
// Call Read often, for example from a [reload.Value] that polls every few seconds. Read
// answers from memory and makes a request only if one is due. So the poll interval bounds
// the delay of a request. A request is due
//
//   - when the last answer is no longer fresh by its Cache-Control, after a minute to an
//     hour, less a random tenth;
//   - when a token named an unknown key or had a bad signature, but tokens cause at most
//     one request in 20 s;
//   - when Refresh was called;
//   - after a failure: 1 s later at first, then after longer pauses up to a minute, or
//     when the server asks for in Retry-After.
//
// An answer is always whole, so the Value needs no Debounce: set Debounce to a negative
// value.
//
// Read returns and remembers only a key set that [Parse] accepts. If the last request
// failed, Read returns its error, so that the caller keeps the earlier keys and reports
// the error.
type RemoteSource struct {
	o         RemoteOptions
	http      http.Client // has a transport only if o.Client has one
	discovery *discovery  // nil if the address of the keys is fixed
	inCluster bool        // whether the server is the API server of Kubernetes
	// metadata is the URL of the document that names the issuer of a cluster. "" means that
	// its name is not asked for.
	metadata string
	issuers  atomic.Pointer[[]string] // see Issuers

	turn      chan struct{} // a mutex with one place; held by Read, also during the request
	changed   chan struct{}
	asked     atomic.Bool               // whether a token named an unknown key since the last request
	forced    atomic.Bool               // whether Refresh was called since the last request
	confirmed atomic.Pointer[time.Time] // when the last valid answer was requested; nil if there is none
	keys      atomic.Pointer[location]  // the last that had valid keys; nil until a discovery found one
	document  atomic.Pointer[error]     // the error of the metadata document, if keys are requested in spite of it

	// turn guards the following fields.
	files     *clientfiles.Files
	system    *x509.CertPool // the system roots as last read; nil means the roots of crypto/x509
	body      []byte         // the last valid answer; nil if there is none
	err       error          // the error of the last request
	failures  int            // failed requests in a row
	last      time.Time      // when pause began
	pause     time.Duration  // how long the next request waits without another reason
	lastAsked time.Time      // when a token last caused a request
}

// Remote returns the source for the URL address. It reads CAFile and BearerFile, and
// makes no request. It returns an error if address or o is not valid.
//
// The URL must use https, or http with a loopback host. The URL must not contain a user
// name or password. Its query is never shown. The source follows at most three redirects,
// and only to https. The source uses the environment variables for proxies and, for the
// system CAs, SSL_CERT_FILE and SSL_CERT_DIR.
func Remote(address string, o RemoteOptions) (*RemoteSource, error) {
	problem := ""
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "":
		problem = "{jwks-url}: the URL has no host; write it as https://HOST/PATH"
	case u.User != nil:
		problem = "{jwks-url}: the URL holds a user name or password; leave them out, and give a token as {jwks-bearer-file}"
	case !isSecure(u):
		problem = "{jwks-url}: the URL is not https, so anybody on the way could put keys in; http is accepted only for loopback"
	}
	if problem != "" {
		return nil, option.Errorf(option.Field, problem)
	}
	s, err := newRemote(o)
	if err != nil {
		return nil, err
	}
	s.keys.Store(newLocation(u))
	return s, nil
}

// newRemote returns a RemoteSource without an address.
func newRemote(o RemoteOptions) (*RemoteSource, error) {
	switch {
	case o.CAFile != "" && o.Client != nil && o.Client.Transport != nil:
		return nil, option.Errorf(option.Field, "{jwks-ca-file} and a Client with a Transport, which has its own CAs, are both set; set one")
	case o.MaxStale < 0 || o.MaxStale > 0 && o.MaxStale < 2*minRefresh:
		return nil, option.Errorf(option.Field, "{max-stale} must be at least %s, so that keys do not go stale between two requests; 0s means no limit", 2*minRefresh)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &RemoteSource{o: o, http: newClient(o.Client), turn: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	var err error
	s.files, err = clientfiles.Open(clientfiles.Options{CAFile: o.CAFile, BearerFile: o.BearerFile, Name: "jwks", Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("jwks: remote: %w", err)
	}
	return s, nil
}

// A location is where a document is requested.
type location struct {
	url  string // never shown, because the query may hold a secret
	name string // for errors
	host string // with the port, if url has one
}

func newLocation(u *url.URL) *location {
	return &location{url: u.String(), name: u.Scheme + "://" + u.Host + u.EscapedPath(), host: u.Host}
}

// isLoopback reports whether host is a loopback address or localhost.
func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// String returns the URL of the keys without its query. A source that has discovered none
// yet returns the URL of the metadata document.
func (s *RemoteSource) String() string {
	if keys := s.keys.Load(); keys != nil {
		return keys.name
	}
	return s.discovery.documents[0].name
}

// Format writes String for every verb and flag.
func (s *RemoteSource) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// ParseOptions returns the options for parsing the content that Read returns.
func (s *RemoteSource) ParseOptions() ParseOptions {
	return s.parseOptions(s.String())
}

func (s *RemoteSource) parseOptions(name string) ParseOptions {
	return ParseOptions{Name: name, Algorithm: s.o.Algorithm, TrustDomain: s.o.TrustDomain, Remote: true}
}

// Read returns the last valid key set, or the error of the last request. If a request is
// due, Read makes it first. If another Read makes a request, Read waits for it. Only Read
// makes requests, and no other method waits for one. The error wraps [reload.ErrTooLarge]
// if the key set is longer than limit bytes.
func (s *RemoteSource) Read(ctx context.Context, limit int64) (reload.Content, error) {
	select {
	case <-ctx.Done():
		return reload.Content{}, fmt.Errorf("%s: %w", s, ctx.Err())
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	}
	if s.isDue() {
		s.request(ctx, min(limit, maxBytes))
		if err := ctx.Err(); err != nil {
			// The caller is gone, and the result may be caused by the end of ctx.
			return reload.Content{}, fmt.Errorf("%s: %w", s, err)
		}
	}
	switch {
	case s.err != nil:
		return reload.Content{}, s.err
	case int64(len(s.body)) > limit:
		return reload.Content{}, tooLarge(s.String(), limit)
	}
	return reload.Content{Data: s.body, Path: s.String()}, nil
}

// SideError returns the errors of CAFile, BearerFile and the metadata document as last read,
// or nil. The last valid content of each stays in use.
func (s *RemoteSource) SideError() error {
	if document := s.document.Load(); document != nil {
		return errors.Join(*document, s.files.LastError())
	}
	return s.files.LastError()
}

// UnknownKey reports that a token named an unknown key, or that no key made its
// signature; see [jwt.Config.OnUnknownKey]. The next Read makes a request, but at most
// one in 20 s. UnknownKey notifies Changed, so a running [reload.Value] reads at once.
// UnknownKey never blocks.
func (s *RemoteSource) UnknownKey() {
	if !s.asked.Load() && s.asked.CompareAndSwap(false, true) {
		s.wake()
	}
}

// Refresh makes a request due, even if the last answer is fresh or the server asked for a
// pause. It is meant for a person's command. Refresh never blocks.
func (s *RemoteSource) Refresh() {
	s.forced.Store(true)
	s.wake()
}

// Usable reports whether the server has sent keys, less than MaxStale ago. It takes no
// lock, and reads the clock only if there is a MaxStale.
func (s *RemoteSource) Usable() bool {
	at := s.confirmed.Load()
	return at != nil && (s.o.MaxStale == 0 || elapsed(*at) < s.o.MaxStale)
}

// Known is what a RemoteSource has learned from its server, apart from the keys. The zero
// Known is that of a source that has had no answer.
type Known struct {
	confirmed *time.Time // when the last valid answer was requested; nil if there is none
	issuers   []string   // as Issuers returns them
}

// Known returns what s has learned so far.
func (s *RemoteSource) Known() Known { return Known{s.confirmed.Load(), s.Issuers()} }

// Restore adds what another source of the same server has learned: that source's keys are
// then as usable here as they were there, although this source has had no answer yet.
func (s *RemoteSource) Restore(k Known) {
	for k.confirmed != nil {
		at := s.confirmed.Load()
		if at != nil && !k.confirmed.After(*at) || s.confirmed.CompareAndSwap(at, k.confirmed) {
			break
		}
	}
	for _, name := range slices.Backward(k.issuers) { // the latest last
		s.addIssuer(name)
	}
}

// Changed returns a channel that receives a value when the caller should call Read before
// the next poll.
func (s *RemoteSource) Changed() <-chan struct{} { return s.changed }

func (s *RemoteSource) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
