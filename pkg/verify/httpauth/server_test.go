package httpauth_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// serve starts a server whose handler tells what it was sent.
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
				if err != nil || resp.StatusCode != c.status || string(got) != c.body || resp.ProtoMajor != major {
					t.Errorf("%s %d %q, %v; want %d %q", resp.Proto, resp.StatusCode, got, err, c.status, c.body)
				}
			})
		}
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

// TestOnTheWire sends what no client library would.
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
