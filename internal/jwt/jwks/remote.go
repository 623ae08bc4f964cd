package jwks

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// RemoteOptions tune a RemoteSource. The zero value is good.
type RemoteOptions struct {
	// Client makes the requests. Its cookies are not used, and redirects are followed
	// by the rules of [Remote]. Without a Transport it gets one that takes proxies
	// from the environment. nil means one without anything.
	Client *http.Client
	// CAFile is the path of the PEM certificates of the CAs that are trusted for the
	// server, in place of those of the system. It is read again before each request:
	// connections are not kept. It goes with a Client that has no Transport. ""
	// means those of the system, which on Linux are read again as well.
	CAFile string
	// BearerFile is the path of a token that is sent to the server, and to no other
	// that it redirects to (RFC 6750 section 2.1). It is read again before each
	// request. "" means none.
	//
	// A CAFile or BearerFile that is bad or missing keeps what was good, and is what
	// FileFault returns; until there was a good one, no request is made.
	BearerFile string
	// Timeout bounds a request with its answer. 0 means 10 s.
	Timeout time.Duration
	// MinRefresh and MaxRefresh bound how long an answer is taken for fresh,
	// whatever it says itself. 0 means 1 min and 1 h.
	MinRefresh, MaxRefresh time.Duration
	// CoolDown bounds the requests that tokens with an unknown key or a bad signature
	// cause: three at once, and after that one each third of a CoolDown. So a forged
	// token now and then does not keep a new key waiting. 0 means 1 min.
	CoolDown time.Duration
	// MaxStale is how long keys are usable without the server having confirmed
	// them. At least twice MinRefresh. 0 means for ever. Where the server only says
	// that nothing has changed, that confirms them for an hour at most; then it has to
	// give them once more.
	MaxStale time.Duration
	// Algorithm is as in ParseOptions.
	Algorithm string
	// Logger takes what is wrong with CAFile and BearerFile, once each time. nil
	// discards it.
	Logger *slog.Logger
}

const (
	usualTimeout  = 10 * time.Second
	leastRefresh  = time.Minute
	mostRefresh   = time.Hour
	usualCoolDown = time.Minute
)

// A RemoteSource is the JWKS at a URL, as a [reload.Source]. [Remote] makes one.
// All methods may be called concurrently.
//
// It is to be read often, as by a [reload.Value] that polls every few seconds:
// Read answers from memory, and makes a request only when one is due. So the
// poll interval bounds how late a request is, and the source decides when there
// is one: when the last answer is no longer fresh (its Cache-Control, within
// MinRefresh and MaxRefresh, spread by a tenth), when a token named an unknown
// key or had a bad signature, when Refresh was called, and after a failure again and again, 1 s later
// at first and then ever more seldom, up to MinRefresh, or when the server said
// (Retry-After). An answer comes whole, so the Value needs no Debounce: give it a
// negative one.
//
// Read returns only what [Parse] takes for a good set, and remembers only that.
// While the last request failed it returns that fault, so that whoever reads
// keeps what was good before and says so.
type RemoteSource struct {
	url  string // never shown: its query may hold a secret
	name string
	o    RemoteOptions

	turn    chan struct{} // of one; held while reading, also during the request
	changed chan struct{}
	begin   time.Time // the clocks below count from here

	asked  atomic.Bool  // a token named an unknown key since the last request
	forced atomic.Bool  // Refresh was called since
	spent  atomic.Int64 // when all requests that tokens have caused are made good; see mayAsk
	stale  atomic.Int64 // when the keys are no longer usable, if ever

	// turn must be held.
	files     sideFiles
	system    *x509.CertPool // the roots of the system, when they were last read; nil for those of crypto/x509
	body      []byte         // the last good answer; nil for none
	etag      string         // of that
	whole     bool           // the answer has to be given again, changed or not
	answered  time.Time      // when it last was
	confirmed time.Time      // when it last was, or was said to be unchanged
	err       error          // of the last request
	failures  int            // in a row
	next      time.Time      // when a request is due at the latest
}

// Remote returns the source that the URL is. It reads CAFile and BearerFile, and makes
// no request.
//
// The URL must be https; http will do where the host is loopback. It must not
// hold a user name or password, and its query is never shown. Redirects are
// followed to https alone, and at most three. No environment but that of the
// proxies is looked at.
func Remote(address string, o RemoteOptions) (*RemoteSource, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("jwks: remote: the URL is none with a host; write it as https://HOST/PATH")
	case u.User != nil:
		return nil, errors.New("jwks: remote: the URL holds a user name or password; leave them out, and give a token as BearerFile")
	case u.Scheme != "https" && u.Scheme != "http", u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("jwks: remote: the URL is not https, so anybody on the way could put keys in; http is for loopback alone")
	}
	o.Timeout = cmp.Or(o.Timeout, usualTimeout)
	o.MinRefresh = cmp.Or(o.MinRefresh, leastRefresh)
	o.MaxRefresh = cmp.Or(o.MaxRefresh, max(o.MinRefresh, mostRefresh))
	o.CoolDown = cmp.Or(o.CoolDown, usualCoolDown)
	switch {
	case min(o.Timeout, o.MinRefresh, o.MaxRefresh, o.CoolDown) < 0:
		return nil, errors.New("jwks: remote: a negative duration; 0 means the default")
	case o.CAFile != "" && o.Client != nil && o.Client.Transport != nil:
		return nil, errors.New("jwks: remote: CAFile beside a Client with a Transport, which has its own CAs; set one")
	case o.MaxRefresh < o.MinRefresh:
		return nil, fmt.Errorf("jwks: remote: MaxRefresh %s is less than MinRefresh %s", o.MaxRefresh, o.MinRefresh)
	case o.MaxStale < 0 || o.MaxStale > 0 && o.MaxStale < 2*o.MinRefresh:
		return nil, fmt.Errorf("jwks: remote: MaxStale %s is less than twice MinRefresh %s, so keys would go stale between two requests", o.MaxStale, o.MinRefresh)
	}
	s := &RemoteSource{
		url: u.String(), name: u.Scheme + "://" + u.Host + u.EscapedPath(), o: o,
		turn: make(chan struct{}, 1), changed: make(chan struct{}, 1), begin: time.Now(),
	}
	if s.files, err = openSideFiles(o); err != nil {
		return nil, err
	}
	s.next = s.begin
	return s, nil
}

// loopback reports whether what is sent to host stays on this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// String returns the URL without its query.
func (s *RemoteSource) String() string { return s.name }

// Format writes String for every verb and flag.
func (s *RemoteSource) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// ParseOptions returns those by which what Read returns is to be parsed.
func (s *RemoteSource) ParseOptions() ParseOptions {
	return ParseOptions{Name: s.name, Algorithm: s.o.Algorithm, Remote: true}
}

// Read returns the last good key set, after a request where one is due, or the
// fault of the last request. It waits for a request that another Read makes.
// Only Read makes requests, and nothing else waits for one.
func (s *RemoteSource) Read(ctx context.Context, limit int64) (reload.Content, error) {
	select {
	case <-ctx.Done():
		return reload.Content{}, fmt.Errorf("%s: %w", s.name, ctx.Err())
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	}
	if now := time.Now(); s.isDue(now) {
		s.request(ctx, now, min(limit, maxBytes))
		if err := ctx.Err(); err != nil {
			// Whoever asked is gone. What came of it may be due to that.
			return reload.Content{}, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	switch {
	case s.err != nil:
		return reload.Content{}, s.err
	case int64(len(s.body)) > limit:
		return reload.Content{}, s.tooLarge(limit)
	}
	return reload.Content{Data: s.body, Path: s.name}, nil
}

// isDue reports whether to make a request now. A request is also due where the last
// one failed and the files have changed since, since that may be the fix.
func (s *RemoteSource) isDue(now time.Time) bool {
	due := s.due(now)
	if since := s.since(); due || since >= s.files.looked+int64(lookAgain) {
		s.files.looked = since
		due = s.files.read() && s.err != nil || due
	}
	return due
}

// FileFault returns what is wrong with CAFile and BearerFile, as they were last read,
// and nil where nothing is. What was good in them is still in force.
func (s *RemoteSource) FileFault() error { return s.files.fault() }

// UnknownKey says that a token named a key that there is not, or that its key has not
// signed it; see [verify.Config]. A request follows with the next Read, which is at
// once where a [reload.Value] runs, unless tokens have caused too many; see
// [RemoteOptions.CoolDown]. It never blocks.
func (s *RemoteSource) UnknownKey(_ string) {
	if s.asked.Load() || !s.asked.CompareAndSwap(false, true) {
		return
	}
	if s.mayAsk() {
		s.wake()
	}
}

// Refresh makes a request due that asks for the whole answer, even while the last answer is fresh or the server
// asked to be left alone: a person says so. It never blocks.
func (s *RemoteSource) Refresh() {
	s.forced.Store(true)
	s.wake()
}

// Usable reports whether the server has confirmed the keys less than MaxStale
// ago. Before it has given any they are not. It takes no lock and reads the
// clock only where there is a MaxStale.
func (s *RemoteSource) Usable() bool {
	stale := s.stale.Load()
	return stale > 0 && (s.o.MaxStale == 0 || int64(time.Since(s.begin)) < stale)
}

// Changed delivers when a Read is worth while before the next poll.
func (s *RemoteSource) Changed() <-chan struct{} { return s.changed }

func (s *RemoteSource) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// since is the time by the monotonic clock.
func (s *RemoteSource) since() int64 { return int64(time.Since(s.begin)) }
