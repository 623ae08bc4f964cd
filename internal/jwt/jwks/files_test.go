package jwks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A selfSigned certificate of 127.0.0.1 is its own CA.
type selfSigned struct {
	pem  []byte
	cert tls.Certificate
}

func newSelfSigned(tb testing.TB) selfSigned {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	check(tb, err)
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(tb, err)
	return selfSigned{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// changingServer serves over TLS with the certificate that cert holds by then.
func changingServer(t *testing.T, cert *atomic.Pointer[selfSigned], h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{cert.Load().cert}}, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// replace puts text at path in one step.
func replace(tb testing.TB, path string, text []byte) {
	tb.Helper()
	check(tb, os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path))
}

func readAnew(t *testing.T, s *RemoteSource) error {
	t.Helper()
	s.Refresh()
	_, err := s.Read(t.Context(), maxBytes)
	return err
}

// TestCAIsReplaced: each request trusts the CAs that are in the file now. If the file is
// invalid, the last valid CAs are trusted, and the error is reported.
func TestCAIsReplaced(t *testing.T) {
	t.Parallel()
	a, b := newSelfSigned(t), newSelfSigned(t)
	var cert atomic.Pointer[selfSigned]
	cert.Store(&a)
	srv := changingServer(t, &cert, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set(signers()["ES256"].jwk())) })
	path := filepath.Join(t.TempDir(), "ca.crt")
	replace(t, path, a.pem)
	var log strings.Builder
	s, err := Remote(srv.URL, RemoteOptions{CAFile: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check(t, err)
	check(t, readAnew(t, s))

	cert.Store(&b)
	if err := readAnew(t, s); err == nil || !strings.Contains(err.Error(), "not trusted; correct the host, or give its CA (--jwks-ca-file") {
		t.Fatalf("the server has a certificate of another CA: %v", err)
	}
	replace(t, path, b.pem)
	check(t, readAnew(t, s))
	cert.Store(&a)
	if err := readAnew(t, s); err == nil {
		t.Error("the old CA is trusted after it was taken out")
	}
	cert.Store(&b)

	both := append(append([]byte("# two CAs\n"), a.pem...), b.pem...)
	for name, bad := range map[string][]byte{
		"empty":        {},
		"no PEM":       []byte(canary),
		"cut off":      both[:len(both)-30],
		"broken block": []byte(strings.Replace(string(both), "MII", "M!I", 1)),
		"a key":        append(signers()["ES256"].pkcs8(t), b.pem...),
		"no X.509":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(canary)}),
	} {
		replace(t, path, bad)
		check(t, readAnew(t, s))
		if err := s.SideError(); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, os.Remove(path))
	check(t, readAnew(t, s))
	if s.SideError() == nil || !strings.Contains(log.String(), path) || strings.Contains(log.String(), "CANARY") {
		t.Errorf("a missing file is not told: %v\n%s", s.SideError(), log.String())
	}
	replace(t, path, both)
	check(t, readAnew(t, s), s.SideError())
	cert.Store(&a)
	check(t, readAnew(t, s)) // both are trusted
}

// TestFirstCAIsMissing: while the CA file is missing, no request is made with the CAs of
// the system. Once the file is there, a request is made at once.
func TestFirstCAIsMissing(t *testing.T) {
	t.Parallel()
	a := newSelfSigned(t)
	var cert atomic.Pointer[selfSigned]
	cert.Store(&a)
	asked := 0
	srv := changingServer(t, &cert, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write(set(signers()["ES256"].jwk()))
	})
	path := filepath.Join(t.TempDir(), "ca.crt")
	s, err := Remote(srv.URL, RemoteOptions{CAFile: path})
	check(t, err)
	err = readAnew(t, s)
	if asked != 0 {
		t.Errorf("%d requests without the CA file", asked)
	}
	if err == nil || !strings.HasPrefix(err.Error(), srv.URL+": ") || !strings.Contains(err.Error(), path) {
		t.Errorf("the error must name the server and the file: %v", err)
	}
	replace(t, path, a.pem)
	check(t, readAnew(t, s))
}

func TestCAGoesWithoutTransport(t *testing.T) {
	t.Parallel()
	if _, err := Remote(address, RemoteOptions{CAFile: "ca.crt", Client: &http.Client{Transport: &provider{}}}); err == nil || !strings.Contains(err.Error(), "set one") {
		t.Error(err)
	}
	_, err := Remote(address, RemoteOptions{CAFile: filepath.Join(t.TempDir(), "ca.crt"), Client: &http.Client{}})
	check(t, err)
}

// TestP7_BearerIsSentToTheServerAlone: the token is shown nowhere. It is not sent to another
// port, host or scheme, nor to the server itself if another server redirects there.
func TestP7_BearerIsSentToTheServerAlone(t *testing.T) {
	t.Parallel()
	keys := set(signers()["ES256"].jwk())
	a := newSelfSigned(t)
	var cert atomic.Pointer[selfSigned]
	cert.Store(&a)
	var gotten []string // the Authorization of each request, with the path
	note := func(who string, r *http.Request) {
		gotten = append(gotten, who+r.URL.Path+" "+r.Header.Get("Authorization"))
	}
	var self, other *httptest.Server
	other = changingServer(t, &cert, func(w http.ResponseWriter, r *http.Request) {
		note("other", r)
		if r.URL.Path == "/back" {
			http.Redirect(w, r, self.URL+"/keys", http.StatusFound)
			return
		}
		_, _ = w.Write(keys)
	})
	self = changingServer(t, &cert, func(w http.ResponseWriter, r *http.Request) {
		note("self", r)
		switch r.URL.Path {
		case "/keys":
			_, _ = w.Write(keys)
		case "/same":
			http.Redirect(w, r, "/keys", http.StatusFound)
		case "/denied":
			w.WriteHeader(http.StatusUnauthorized)
		case "/other":
			http.Redirect(w, r, other.URL+"/keys", http.StatusFound)
		case "/back":
			http.Redirect(w, r, other.URL+"/back", http.StatusFound)
		}
	})
	dir := t.TempDir()
	ca, bearer := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	replace(t, ca, a.pem)
	replace(t, bearer, []byte("CANARY.one\n"))
	var log strings.Builder
	options := RemoteOptions{CAFile: ca, BearerFile: bearer, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for path, want := range map[string]string{
		"/keys":   "self/keys Bearer CANARY.one",
		"/same":   "self/same Bearer CANARY.one, self/keys Bearer CANARY.one",
		"/other":  "self/other Bearer CANARY.one, other/keys ",
		"/back":   "self/back Bearer CANARY.one, other/back , self/keys ",
		"/denied": "self/denied Bearer CANARY.one",
	} {
		gotten = nil
		s, err := Remote(self.URL+path, options)
		check(t, err)
		err = readAnew(t, s)
		if denied := path == "/denied"; denied != (err != nil) || denied && !strings.Contains(err.Error(), "--jwks-bearer-file") {
			t.Errorf("%s: %v", path, err)
		}
		if got := strings.Join(gotten, ", "); got != want {
			t.Errorf("%s: %s; want %s", path, got, want)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			log.WriteString(fmt.Sprintf(verb, s) + fmt.Sprintf(verb, err))
		}
	}

	// It is read again, and one that is bad keeps the one that was good.
	s, err := Remote(self.URL+"/keys", options)
	check(t, err)
	replace(t, bearer, []byte("CANARY.two"))
	for _, bad := range []string{"CANARY.two", "", "CANARY three", "CANARY\x00", "CANARY\nCANARY", strings.Repeat("CANARY", 5000)} {
		replace(t, bearer, []byte(bad))
		gotten = nil
		check(t, readAnew(t, s))
		if got := strings.Join(gotten, ", "); got != "self/keys Bearer CANARY.two" {
			t.Errorf("%.20q: %s", bad, got)
		}
		fileErr := s.SideError()
		if (fileErr == nil) != (bad == "CANARY.two") || fileErr != nil && !strings.Contains(fileErr.Error(), bearer) {
			t.Errorf("%.20q: %v", bad, fileErr)
		}
		log.WriteString(fmt.Sprint(fileErr))
	}
	if strings.Contains(log.String(), "CANARY") {
		t.Errorf("the token shows:\n%s", log.String())
	}
}

// TestBearerStaysOnHostAndPort: a redirect to another host or port loses the token.
func TestBearerStaysOnHostAndPort(t *testing.T) {
	t.Parallel()
	r := func(address string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, address, nil)
		r.Header.Set("Authorization", "Bearer CANARY")
		return r
	}
	for to, kept := range map[string]bool{
		"https://a.example/x":     true,
		"https://a.example:8443/": false, "https://b.a.example/": false, "https://example/": false, "https://a.example.b.example/": false,
	} {
		next := r(to)
		check(t, follow(next, []*http.Request{r("https://a.example/keys")}))
		if got := next.Header.Get("Authorization") != ""; got != kept {
			t.Errorf("%s: sent %v, want %v", to, got, kept)
		}
	}
}

// TestFilesAreReadBetweenRequests: errors in the files are reported while no request is due,
// and a file that was fixed is used without waiting for the next try.
func TestFilesAreReadBetweenRequests(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	keys := string(set(newEC(t).jwk("kid", "a")))
	replace(t, path, []byte("old"))
	synctest.Test(t, func(t *testing.T) {
		s, p := remote(t, RemoteOptions{BearerFile: path}, func(r *http.Request) replied {
			if r.Header.Get("Authorization") != "Bearer new" {
				return says(401, "")(r)
			}
			return says(200, keys, "Cache-Control", "max-age=3600")(r)
		})
		for range 10 * 60 { // until it is asked once a minute
			read(t, s)
			time.Sleep(time.Second)
		}
		before := p.count()
		replace(t, path, []byte("new"))
		for range 11 {
			read(t, s)
			time.Sleep(time.Second)
		}
		if got := read(t, s); got != keys || p.count() > before+2 {
			t.Errorf("%s after %d requests more", got, p.count()-before)
		}
		replace(t, path, nil)
		time.Sleep(11 * time.Second)
		before = p.count()
		if got := read(t, s); got != keys || s.SideError() == nil || p.count() != before {
			t.Errorf("%s, %v, %d requests more", got, s.SideError(), p.count()-before)
		}
	})
}

// TestSystemCAIsRenewed: crypto/x509 reads the roots of the system once, and a CA that
// is renewed in a mounted file would never be trusted.
func TestSystemCAIsRenewed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the roots are read again on Linux alone")
	}
	a, b := newSelfSigned(t), newSelfSigned(t)
	var cert atomic.Pointer[selfSigned]
	cert.Store(&a)
	srv := changingServer(t, &cert, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(set(signers()["ES256"].jwk()))
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	replace(t, file, a.pem)
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", filepath.Join(dir, "none")+":"+filepath.Join(dir, "more"))
	s, err := Remote(srv.URL, RemoteOptions{})
	check(t, err)
	later := func() error {
		processRoots.read = time.Time{} // as if rootInterval had passed
		return readAnew(t, s)
	}
	check(t, later())
	cert.Store(&b)
	if later() == nil {
		t.Fatal("a server of an unknown CA is trusted")
	}
	replace(t, file, b.pem)
	check(t, later())
	check(t, os.Remove(file))
	check(t, later()) // what was good is kept
	check(t, os.Mkdir(filepath.Join(dir, "more"), 0o700))
	replace(t, filepath.Join(dir, "more", "a.pem"), a.pem)
	cert.Store(&a)
	check(t, later())
}
