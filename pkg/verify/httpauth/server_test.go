package httpauth_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// listen starts a server of h for HTTP/1.1 and for HTTP/2 without TLS.
func listen(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = protocols(true, true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// serve starts a server whose handler answers with the subject, the body and the token
// header that it received.
func serve(t *testing.T, v verify.Verifier, o httpauth.Options) *httptest.Server {
	t.Helper()
	return listen(t, httpauth.Middleware(v, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := verify.FromContext(r.Context())
		sent, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %q %v", p.Subject(), sent, r.Header["Dapr-Api-Token"])
	})))
}

func protocols(h1, h2c bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(h1)
	p.SetUnencryptedHTTP2(h2c)
	return &p
}

// clients returns one client for each version of HTTP.
func clients(t *testing.T) map[int]*http.Client {
	t.Helper()
	cs := make(map[int]*http.Client)
	for major := 1; major <= 2; major++ {
		tr := &http.Transport{Protocols: protocols(major == 1, major == 2)}
		t.Cleanup(tr.CloseIdleConnections)
		cs[major] = &http.Client{Transport: tr}
	}
	return cs
}

func TestServer(t *testing.T) {
	s := serve(t, &fake{}, httpauth.Options{Exempt: []string{"/open"}})
	for major, client := range clients(t) {
		for name, c := range map[string]struct {
			path   string
			header http.Header
			status int
			body   string
		}{
			"good":            {"/", http.Header{"Dapr-Api-Token": {good}}, 200, `token "sent" []`},
			"odd case":        {"/", http.Header{"dAPR-api-TOKEN": {good}}, 200, `token "sent" []`},
			"bearer":          {"/", http.Header{"Authorization": {"bearer " + good}}, 200, `token "sent" []`},
			"a named client":  {"/", http.Header{"Dapr-Api-Token": {ciToken}}, 200, `ci "sent" []`},
			"exempt":          {"/open?q", http.Header{"Dapr-Api-Token": {"x"}}, 200, ` "sent" []`},
			"missing":         {"/", nil, 401, refused},
			"empty":           {"/", http.Header{"Dapr-Api-Token": {""}, "Authorization": {"Bearer " + good}}, 401, refused},
			"twice":           {"/", http.Header{"Dapr-Api-Token": {good, good}}, 401, refused},
			"in two cases":    {"/", http.Header{"Dapr-Api-Token": {good}, "dapr-api-token": {good}}, 401, refused},
			"wrong":           {"/", http.Header{"Dapr-Api-Token": {"wrong"}}, 401, refused},
			"not loaded":      {"/", http.Header{"Dapr-Api-Token": {unavailable}}, 503, notLoaded},
			"escaped, exempt": {"/%6Fpen", nil, 401, refused},
			"doubled, exempt": {"//open", nil, 401, refused},
			"grpc on HTTP/1":  {"/a.B/C", http.Header{"Content-Type": {"application/grpc"}}, map[int]int{1: 401, 2: 200}[major], map[int]string{1: refused}[major]},
		} {
			t.Run(fmt.Sprintf("HTTP %d, %s", major, name), func(t *testing.T) {
				method := http.MethodPost
				if strings.Contains(c.path, "open") {
					method = http.MethodGet
				}
				r, err := http.NewRequestWithContext(t.Context(), method, s.URL+c.path, strings.NewReader("sent"))
				if err != nil {
					t.Fatal(err)
				}
				if c.header != nil {
					r.Header = c.header.Clone()
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if resp.ProtoMajor != major {
					t.Errorf("answered over %s, want HTTP/%d", resp.Proto, major)
				}
				if resp.StatusCode != c.status || string(got) != c.body {
					t.Errorf("%d %q; want %d %q", resp.StatusCode, got, c.status, c.body)
				}
			})
		}
	}
}

// formFiles sends h a form with a file over each version of HTTP. It returns for each
// version whether the server removed that file after the request. h parses the form.
func formFiles(t *testing.T, h http.Handler) (removed map[int]bool) {
	t.Helper()
	names := make(chan string, 2)
	s := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		names <- w.Header().Get("File")
	}))
	files := make(map[int]string)
	for major, client := range clients(t) {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("a", "a")
		if err == nil {
			_, err = part.Write(make([]byte, 100))
		}
		if err = errors.Join(err, form.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/form", &body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", form.FormDataContentType())
		r.Header.Set("dapr-api-token", good)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if files[major] = <-names; files[major] == "" {
			t.Fatalf("HTTP %d: the form was in no file", major)
		}
	}
	s.Close() // which waits for what the server does after the handlers
	removed = make(map[int]bool)
	for major, file := range files {
		removed[major] = os.Remove(file) != nil
	}
	return removed
}

// parseForm parses a form into files, and names the file of its field "a".
func parseForm(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseMultipartForm(1); err != nil { // more goes into files
		return
	}
	if f, _, err := r.FormFile("a"); err == nil {
		defer f.Close()
		w.Header().Set("File", f.(*os.File).Name())
	}
}

// TestNetHTTPRemovesFormFiles tests net/http alone. After a handler has returned, its
// server removes the files of the form. Since Go 1.27 its HTTP/2 server looks for the form
// in another copy of the request, and does not remove the files of the handler's form.
func TestNetHTTPRemovesFormFiles(t *testing.T) {
	want := map[int]bool{1: true, 2: !strings.HasPrefix(runtime.Version(), "go1.27")}
	if removed := formFiles(t, http.HandlerFunc(parseForm)); !reflect.DeepEqual(removed, want) {
		t.Errorf("%s removes %v, want %v; if a new Go release has changed this, change the comment of Options.InPlace, too", runtime.Version(), removed, want)
	}
}

// TestInPlaceShowsTheServerTheForm: with InPlace, the server removes the same files as
// without a middleware. Without it, the server does not find the form of the copy.
func TestInPlaceShowsTheServerTheForm(t *testing.T) {
	for inPlace, want := range map[bool]map[int]bool{
		false: {1: false, 2: false},
		true:  formFiles(t, http.HandlerFunc(parseForm)),
	} {
		h := httpauth.Middleware(&fake{}, httpauth.Options{InPlace: inPlace})(http.HandlerFunc(parseForm))
		if removed := formFiles(t, h); !reflect.DeepEqual(removed, want) {
			t.Errorf("in place %t: the server removes %v, want %v", inPlace, removed, want)
		}
	}
}

// TestInPlace: an outer handler sees the Principal if and only if InPlace is set.
func TestInPlace(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if p, _ := verify.FromContext(r.Context()); p != current {
				t.Errorf("in place %t: the handler finds %v", inPlace, p)
			}
		})
		h := httpauth.Middleware(&fake{}, httpauth.Options{InPlace: inPlace})(next)
		outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if p, found := verify.FromContext(r.Context()); found != inPlace || found && p != current {
				t.Errorf("in place %t: outside finds %v", inPlace, p)
			}
			if r.Pattern != "/form" || r.URL.Path != "/form" {
				t.Errorf("in place %t: the request is %q, %q", inPlace, r.Pattern, r.URL)
			}
		})
		mux := http.NewServeMux()
		mux.Handle("/form", outside)
		s := listen(t, mux)
		for _, client := range clients(t) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/form", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("dapr-api-token", good)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("in place %t: %s", inPlace, resp.Status)
			}
		}
	}
}

// TestRequestUsedAgain: a request that passes the middleware many times carries one
// Principal.
func TestRequestUsedAgain(t *testing.T) {
	r := get("/")
	h := httpauth.Middleware(&fake{}, httpauth.Options{InPlace: true})(http.NotFoundHandler())
	pass := func() string {
		r.Header.Set("dapr-api-token", good)
		h.ServeHTTP(httptest.NewRecorder(), r)
		return fmt.Sprint(r.Context())
	}
	first := pass()
	if second := pass(); second != first || strings.Count(first, "WithPrincipal") != 1 {
		t.Errorf("the contexts are %q and %q", first, second)
	}
}

func TestHeadRefusal(t *testing.T) {
	s := serve(t, &fake{}, httpauth.Options{})
	for major, client := range clients(t) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, http.NoBody)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || resp.ContentLength != int64(len(refused)) {
			t.Errorf("HTTP %d: %d, length %d", major, resp.StatusCode, resp.ContentLength)
		}
	}
}

// TestOnTheWire sends requests that no client library sends.
func TestOnTheWire(t *testing.T) {
	s := serve(t, &fake{}, httpauth.Options{Exempt: []string{"/open"}})
	const line, rest = "GET / HTTP/1.1\r\nHost: h\r\n", "\r\n\r\n"
	for name, c := range map[string]struct {
		sent   string
		status int
	}{
		"plain":                      {line + "dapr-api-token: " + good + rest, 200},
		"blanks and tabs around it":  {line + "dapr-api-token:\t  " + good + " \t" + rest, 200},
		"no blank":                   {line + "dapr-api-token:" + good + rest, 200},
		"blanks alone":               {line + "dapr-api-token:  \t " + "\r\nAuthorization: Bearer " + good + rest, 401},
		"twice":                      {line + "dapr-api-token: " + good + "\r\nDapr-Api-Token: " + good + rest, 401},
		"twice, far apart":           {line + "DAPR-API-TOKEN: " + good + "\r\nX: y\r\ndapr-api-token:" + rest, 401},
		"blank before the colon":     {line + "dapr-api-token : " + good + rest, 400},
		"folded":                     {line + "dapr-api-token: canary-good\r\n -0123456789" + rest, 401},
		"NUL":                        {line + "dapr-api-token: \x00" + rest, 400},
		"in a chunk's trailer":       {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: dapr-api-token\r\n\r\n0\r\ndapr-api-token: " + good + rest, 401},
		"exempt, absolute":           {"GET http://h/open HTTP/1.1\r\nHost: h" + rest, 401},
		"exempt":                     {"GET /open HTTP/1.0" + rest, 200},
		"exempt, dot segments":       {"GET /x/../open HTTP/1.1\r\nHost: h" + rest, 401},
		"options *":                  {"OPTIONS * HTTP/1.1\r\nHost: h" + rest, 200}, // net/http answers this one itself
		"connect":                    {"CONNECT h:443 HTTP/1.1\r\nHost: h" + rest, 401},
		"a token for another's host": {"GET / HTTP/1.1\r\nHost: dapr-api-token: " + good + rest, 400},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
		})
	}
}
