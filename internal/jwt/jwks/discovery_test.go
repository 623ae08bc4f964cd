package jwks

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	idp     = "https://idp.example"
	idpDoc  = idp + "/.well-known/openid-configuration"
	idpKeys = idp + "/jwks?token=CANARY"
)

// metadata returns the metadata document of issuer. extra are more members.
func metadata(issuer, keys string, extra ...string) string {
	m := map[string]any{"issuer": issuer, "jwks_uri": keys}
	for i := 0; i < len(extra); i += 2 {
		m[extra[i]] = extra[i+1]
	}
	return string(text(m))
}

// A site is the answers of servers by URL. Any other URL is not found.
type site struct {
	mu      sync.Mutex
	answers map[string]reply
	asked   []string // the URLs, with " +token" if the bearer token was sent
}

func (s *site) reply(r *http.Request) replied {
	s.mu.Lock()
	line := r.URL.String()
	answer := s.answers[line]
	if r.Header.Get("Authorization") != "" {
		line += " +token"
	}
	s.asked = append(s.asked, line)
	s.mu.Unlock()
	if answer == nil {
		answer = says(404, canary)
	}
	return answer(r)
}

func (s *site) set(url string, answer reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[url] = answer
}

// requests returns the requests since the last call.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// discovered returns the source of issuer.
func discovered(t *testing.T, issuer string, o RemoteOptions, answers map[string]reply) (*RemoteSource, *site) {
	t.Helper()
	web := &site{answers: answers}
	o.Client = &http.Client{Transport: &provider{answer: web.reply}}
	s, err := Discover(issuer, o)
	check(t, err)
	return s, web
}

// readFresh makes a request, and returns the keys or the error.
func readFresh(t *testing.T, s *RemoteSource) string {
	t.Helper()
	s.Refresh()
	c, err := s.Read(t.Context(), maxBytes)
	if err != nil {
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error quotes an answer: %v", err)
		}
		return "error: " + err.Error()
	}
	return string(c.Data)
}

// TestDiscover: the document is below the issuer (OpenID Connect Discovery 1.0) or, if the
// server has none there, before its path (RFC 8414).
func TestDiscover(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	for issuer, c := range map[string]struct{ first, second string }{
		idp:                           {idpDoc, idp + "/.well-known/oauth-authorization-server"},
		idp + "/":                     {idpDoc, idp + "/.well-known/oauth-authorization-server"},
		idp + "/tenant":               {idp + "/tenant/.well-known/openid-configuration", idp + "/.well-known/oauth-authorization-server/tenant"},
		idp + "/a/b/":                 {idp + "/a/b/.well-known/openid-configuration", idp + "/.well-known/oauth-authorization-server/a/b"},
		idp + "/a%2Fb":                {idp + "/a%2Fb/.well-known/openid-configuration", idp + "/.well-known/oauth-authorization-server/a%2Fb"},
		idp + ":8443/x":               {idp + ":8443/x/.well-known/openid-configuration", idp + ":8443/.well-known/oauth-authorization-server/x"},
		"http://127.0.0.1:8080":       {"http://127.0.0.1:8080/.well-known/openid-configuration", "http://127.0.0.1:8080/.well-known/oauth-authorization-server"},
		"https://[2001:db8::1]/realm": {"https://[2001:db8::1]/realm/.well-known/openid-configuration", "https://[2001:db8::1]/.well-known/oauth-authorization-server/realm"},
	} {
		s, web := discovered(t, issuer, RemoteOptions{}, map[string]reply{idpKeys: says(200, keys)})
		if s.String() != c.first {
			t.Errorf("%s: named %s before it was read", issuer, s)
		}
		if got := readFresh(t, s); !strings.HasPrefix(got, "error: "+c.first+": neither this document nor "+c.second+" exists; correct the issuer") {
			t.Errorf("%s: %s", issuer, got)
		}
		if got := web.requests(); !slices.Equal(got, []string{c.first, c.second}) {
			t.Errorf("%s: asked for %q", issuer, got)
		}
		web.set(c.second, says(200, metadata(issuer, idpKeys)))
		if got := readFresh(t, s); got != keys {
			t.Errorf("%s: %s", issuer, got)
		}
		web.set(c.second, says(200, "not read"))
		web.set(c.first, says(200, metadata(issuer, idpKeys)))
		web.requests()
		if got := readFresh(t, s); got != keys {
			t.Errorf("%s: %s", issuer, got)
		}
		if got := web.requests(); !slices.Equal(got, []string{c.first, idpKeys}) {
			t.Errorf("%s: asked for %q", issuer, got)
		}
		if s.String() != idp+"/jwks" || s.ParseOptions().Name != idp+"/jwks" {
			t.Errorf("%s: named %s", issuer, s)
		}
	}
	for issuer, want := range map[string]string{
		"https://":                           "has no host",
		"https://idp.example/%zzCANARY":      "has no host",
		"http://idp.example":                 "is not https",
		"ftp://127.0.0.1/CANARY":             "is not https",
		"file:///etc/CANARY":                 "has no host",
		"https://u:CANARY@idp.example":       "holds a user name",
		"https://idp.example/?tenant=CANARY": "a query or a fragment",
		"https://idp.example/?":              "a query or a fragment",
		"https://idp.example/#CANARY":        "a query or a fragment",
	} {
		if _, err := Discover(issuer, RemoteOptions{}); err == nil || !strings.HasPrefix(err.Error(), "Issuer.JWT.Issuer: the URL ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

// TestBadDocuments: a document that is bad, is of another issuer or leads to a place where
// the keys cannot be gives no keys, and changes neither the keys nor their place later.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	keys, evil := string(set(newEC(t).jwk("kid", "a"))), string(set(newEC(t).jwk("kid", "evil")))
	to := func(address string) reply { return says(200, metadata(idp, address)) }
	for name, c := range map[string]struct {
		answer reply
		want   string
	}{
		"not JSON":               {says(200, "<html>"+canary), "not a JSON object"},
		"an array":               {says(200, `["`+canary+`"]`), "not a JSON object"},
		"null":                   {says(200, `null`), "no text issuer"},
		"bytes that are no text": {says(200, "{\"issuer\":\""+idp+"\xff\",\"jwks_uri\":\""+idpKeys+"\"}"), "not a JSON object"},
		"cut off":                {says(200, metadata(idp, idpKeys)[:40]), "not a JSON object"},
		"two documents":          {says(200, metadata(idp, idpKeys)+metadata(idp, idpKeys)), "not a JSON object"},
		"too long":               {says(200, metadata(idp, idpKeys, "x", strings.Repeat("x", maxDocument))), "over 1048576 bytes"},
		"too deep":               {says(200, `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`+metadata(idp, idpKeys)[1:]), "nested too deep"},
		"issuer twice":           {says(200, `{"issuer":"https://evil.example",`+metadata(idp, idpKeys)[1:]), "a member twice"},
		"escaped issuer twice":   {says(200, `{"\u0069ssuer":"https://evil.example",`+metadata(idp, idpKeys)[1:]), "a member twice"},
		"ISSUER":                 {says(200, strings.Replace(metadata(idp, idpKeys), "issuer", "ISSUER", 1)), "no text issuer"},
		"no issuer":              {says(200, `{"jwks_uri":"`+idpKeys+`"}`), "no text issuer"},
		"an issuer of a list":    {says(200, `{"issuer":["`+idp+`"],"jwks_uri":"`+idpKeys+`"}`), "no text issuer"},
		"no jwks_uri":            {says(200, `{"issuer":"`+idp+`"}`), "no text jwks_uri"},
		"another issuer":         {says(200, metadata("https://CANARY.example", idpKeys)), "the metadata is of another issuer; give the issuer exactly"},
		"a slash more":           {says(200, metadata(idp+"/", idpKeys)), "differ only in a slash"},
		"upper case":             {says(200, metadata("HTTPS://idp.example", idpKeys)), "of another issuer"},
		"a space":                {says(200, metadata(idp+" ", idpKeys)), "of another issuer"},
		"http":                   {to("http://idp.example/CANARY"), "jwks_uri is not https"},
		"http loopback":          {to("http://127.0.0.1/CANARY"), "jwks_uri is not https"},
		"file":                   {to("file:///etc/CANARY"), "jwks_uri has no host"},
		"file with a host":       {to("file://idp.example/etc/CANARY"), "jwks_uri is not https"},
		"gopher":                 {to("gopher://idp.example/CANARY"), "jwks_uri is not https"},
		"data":                   {to("data:application/json,CANARY"), "jwks_uri has no host"},
		"relative":               {to("/CANARY"), "jwks_uri has no host"},
		"without scheme":         {to("//idp.example/CANARY"), "jwks_uri is not https"},
		"user info":              {to("https://CANARY@idp.example/"), "holds a user name"},
		"loopback":               {to("https://127.0.0.1/CANARY"), "leads to this machine"},
		"another loopback":       {to("https://127.1.2.3:6443/"), "leads to this machine"},
		"short loopback":         {to("https://127.1/"), "leads to this machine"},
		"decimal loopback":       {to("https://2130706433/"), "leads to this machine"},
		"hexadecimal loopback":   {to("https://0x7f000001/"), "leads to this machine"},
		"octal loopback":         {to("https://0177.0.0.1/"), "leads to this machine"},
		"IPv6 loopback":          {to("https://[::1]/"), "leads to this machine"},
		"mapped loopback":        {to("https://[::ffff:127.0.0.1]/"), "leads to this machine"},
		"localhost":              {to("https://LocalHost/"), "leads to this machine"},
		"localhost.":             {to("https://localhost./"), "leads to this machine"},
		"a name of localhost":    {to("https://a.localhost/"), "leads to this machine"},
		"unspecified":            {to("https://0.0.0.0/"), "leads to this machine"},
		"zero":                   {to("https://0/"), "leads to this machine"},
		"IPv6 unspecified":       {to("https://[::]/"), "leads to this machine"},
		"link-local":             {to("https://169.254.169.254/latest/CANARY"), "leads to this machine"},
		"IPv6 link-local":        {to("https://[fe80::1%25eth0]/"), "leads to this machine"},
		"multicast":              {to("https://224.0.0.1/"), "leads to this machine"},
		"compatible loopback":    {to("https://[::127.0.0.1]/"), "leads to this machine"},
		"NAT64 loopback":         {to("https://[64:ff9b::7f00:1]/"), "leads to this machine"},
		"NAT64 link-local":       {to("https://[64:ff9b::169.254.169.254]/CANARY"), "leads to this machine"},
		"6to4 loopback":          {to("https://[2002:7f00:1::]/"), "leads to this machine"},
		"unspecified on a link":  {to("https://[::%25eth0]/"), "leads to this machine"},
		"wide digit":             {to("https://127.0.0.１/"), "a host name that is not ASCII"},
		"escaped wide digit":     {to("https://127.0.0.%EF%BC%91/"), "a host name that is not ASCII"},
		"wide full stops":        {to("https://127。0。0。1/"), "a host name that is not ASCII"},
		"wide letter":            {to("https://ｌocalhost:6443/"), "a host name that is not ASCII"},
		"soft hyphen":            {to("https://local\u00adhost/"), "a host name that is not ASCII"},
		"500":                    {says(500, canary), "the server answers 500"},
		"gone":                   {says(404, canary), "neither this document nor"},
		"hangs":                  {hangs, "no complete answer"},
		"a redirect to a host":   {says(302, "", "Location", "https://evil.example/doc"), "a redirect to another host"},
		"a redirect to a port":   {says(302, "", "Location", idp+":8443/doc"), "a redirect to another host"},
		"a redirect to http":     {says(302, "", "Location", "http://idp.example/doc"), "a redirect away from https"},
		"a loop":                 {says(302, "", "Location", idpDoc), "more than three redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				web := map[string]reply{idpDoc: c.answer, idpKeys: says(200, keys), "https://evil.example/doc": says(200, metadata(idp, "https://evil.example/keys")), idp + ":8443/doc": says(200, metadata(idp, idpKeys))}
				s, _ := discovered(t, idp, RemoteOptions{}, web)
				if got := readFresh(t, s); !strings.HasPrefix(got, "error: "+idpDoc+": ") || !strings.Contains(got, c.want) {
					t.Errorf("at first: %s", got)
				}
				if err := s.SideError(); err != nil || s.Usable() {
					t.Errorf("at first: a second error %v, or usable", err)
				}
				// The document becomes good, and then bad again.
				s, answers := discovered(t, idp, RemoteOptions{}, map[string]reply{idpDoc: says(200, metadata(idp, idpKeys)), idpKeys: says(200, keys)})
				if got := readFresh(t, s); got != keys {
					t.Fatal(got)
				}
				answers.set(idpDoc, c.answer)
				next := string(set(newEC(t).jwk("kid", "b")))
				answers.set(idpKeys, says(200, next))
				for address := range web {
					if address != idpDoc && address != idpKeys {
						answers.set(address, says(200, evil))
					}
				}
				if got := readFresh(t, s); got != next || s.String() != idp+"/jwks" {
					t.Errorf("the keys at the last good address: %s at %s", got, s)
				}
				if err := s.SideError(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
					t.Errorf("SideError: %v", err)
				}
				// Soon after it becomes good, the error is gone.
				answers.set(idpDoc, says(200, metadata(idp, idpKeys)))
				time.Sleep(time.Minute)
				if _, err := s.Read(t.Context(), maxBytes); err != nil || s.SideError() != nil {
					t.Errorf("did not recover: %v, %v", err, s.SideError())
				}
			})
		})
	}
}

// TestKeysMove: the keys are where the document says, also on another host, once they are
// good there.
func TestKeysMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := string(set(newEC(t).jwk("kid", "a"))), string(set(newEC(t).jwk("kid", "b")))
		var log strings.Builder
		const moved = "https://keys.example/certs?CANARY"
		s, web := discovered(t, idp, RemoteOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))},
			map[string]reply{idpDoc: says(200, metadata(idp, idpKeys)), idpKeys: says(200, a)})
		if readFresh(t, s) != a {
			t.Fatal("no keys")
		}
		web.set(idpDoc, says(200, metadata(idp, moved)))
		for _, bad := range []reply{says(404, ""), says(500, ""), says(200, canary), says(200, `{"keys":[]}`), says(302, "", "Location", "https://127.0.0.1/CANARY"), hangs} {
			web.set(moved, bad)
			if got := readFresh(t, s); !strings.HasPrefix(got, "error: https://keys.example/certs: ") {
				t.Error(got)
			}
			if s.String() != idp+"/jwks" {
				t.Errorf("named %s", s)
			}
		}
		web.set(moved, says(200, b))
		if got := readFresh(t, s); got != b || s.String() != "https://keys.example/certs" {
			t.Errorf("%s at %s", got, s)
		}
		if strings.Count(log.String(), "level=INFO") != 2 || !strings.Contains(log.String(), "url=https://keys.example/certs") || strings.Contains(log.String(), "CANARY") {
			t.Errorf("the log:\n%s", log.String())
		}
	})
}

// TestRedirectsOfDiscoveredKeys: a redirect of the keys leads to another host, but not into
// this machine.
func TestRedirectsOfDiscoveredKeys(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	for to, want := range map[string]string{
		"https://cdn.example/keys":       "",
		"https://127.0.0.1/keys":         "a redirect to this machine",
		"https://localhost/keys":         "a redirect to this machine",
		"https://169.254.169.254/keys":   "a redirect to this machine",
		"https://[64:ff9b::7f00:1]/keys": "a redirect to this machine",
		"https://[2002:808:808::1]/keys": "",
		"https://[64:ff9b::808:808]/key": "",
		"https://[2001:db8::1]/keys":     "",
		"https://xn--bcher-kva.example/": "",
		"https://127.0.0.１/keys":         "a redirect to a host name that is not ASCII",
		"https://ｌocalhost/keys":         "a redirect to a host name that is not ASCII",
		"http://cdn.example/keys":        "a redirect away from https",
		"file:///etc/passwd":             "a redirect ",
		"https://CANARY@cdn.example/key": "a redirect away from https",
	} {
		s, _ := discovered(t, idp, RemoteOptions{}, map[string]reply{
			idpDoc: says(200, metadata(idp, idpKeys)), idpKeys: says(302, "", "Location", to), to: says(200, keys),
		})
		if got := readFresh(t, s); want == "" && got != keys || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %s", to, got)
		}
	}
	// The document may move on the same host.
	s, _ := discovered(t, idp, RemoteOptions{}, map[string]reply{
		idpDoc: says(302, "", "Location", "/doc"), idp + "/doc": says(200, metadata(idp, idpKeys)), idpKeys: says(200, keys),
	})
	if got := readFresh(t, s); got != keys {
		t.Error(got)
	}
}

// TestLoopbackIssuers: the keys of an issuer on loopback may be there, over http too.
func TestLoopbackIssuers(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	for _, issuer := range []string{"http://127.0.0.1:1", "http://localhost:1/x", "https://[::1]", "http://[::1]:1"} {
		for address, good := range map[string]bool{
			"http://127.0.0.1:2/k": true, "https://localhost/k": true, "https://keys.example/k": true, "http://keys.example/k": false, "file:///k": false,
		} {
			s, _ := discovered(t, issuer, RemoteOptions{}, map[string]reply{
				issuer + "/.well-known/openid-configuration": says(200, metadata(issuer, address)), address: says(200, keys),
			})
			if got := readFresh(t, s); (got == keys) != good {
				t.Errorf("%s to %s: %s", issuer, address, got)
			}
		}
	}
}

// TestP7_BearerIsSentToTheIssuerAlone: the token goes to the host of the issuer, for the
// document and for keys there, and to no other host or port.
func TestP7_BearerIsSentToTheIssuerAlone(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	bearer := filepath.Join(t.TempDir(), "token")
	replace(t, bearer, []byte("CANARY"))
	for address, want := range map[string]string{
		idp + "/jwks":                   " +token",
		idp + ":8443/jwks":              "",
		idp + "./jwks":                  "",
		"https://keys.idp.example/jwks": "",
		"https://keys.example/jwks":     "",
	} {
		s, web := discovered(t, idp, RemoteOptions{BearerFile: bearer}, map[string]reply{idpDoc: says(200, metadata(idp, address)), address: says(200, keys)})
		if got := readFresh(t, s); got != keys {
			t.Error(got)
		}
		if got := web.requests(); !slices.Equal(got, []string{idpDoc + " +token", address + want}) {
			t.Errorf("%s: asked for %q", address, got)
		}
	}
}

// TestDiscoverySchedule: the document is read with the keys, after the shorter time for
// which the two are fresh. While the document is bad, both are tried again, and less often.
func TestDiscoverySchedule(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	age := func(seconds int) []string { return []string{"Cache-Control", fmt.Sprintf("max-age=%d", seconds)} }
	for name, c := range map[string]struct {
		document, keys int
		want           time.Duration
	}{"the keys": {3000, 600, 10 * time.Minute}, "the document": {600, 3000, 10 * time.Minute}, "too short": {1, 3000, time.Minute}, "too long": {9999, 9999, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, web := discovered(t, idp, RemoteOptions{}, map[string]reply{
					idpDoc: says(200, metadata(idp, idpKeys), age(c.document)...), idpKeys: says(200, keys, age(c.keys)...),
				})
				readFresh(t, s)
				for range 5 {
					web.requests()
					began := time.Now()
					for len(web.requests()) == 0 {
						time.Sleep(time.Second)
						if _, err := s.Read(t.Context(), maxBytes); err != nil {
							t.Fatal(err)
						}
					}
					if took := time.Since(began); took < c.want*8/10 || took > c.want+2*time.Second {
						t.Errorf("asked after %s, want %s", took, c.want)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s, web := discovered(t, idp, RemoteOptions{MaxStale: 10 * time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			map[string]reply{idpDoc: says(200, metadata(idp, idpKeys)), idpKeys: says(200, keys)})
		if readFresh(t, s) != keys {
			t.Fatal("no keys")
		}
		web.set(idpDoc, says(503, "", "Retry-After", "5"))
		web.requests()
		for range 3600 {
			time.Sleep(time.Second)
			if _, err := s.Read(t.Context(), maxBytes); err != nil || !s.Usable() {
				t.Fatalf("%v, usable %t, though the keys are good", err, s.Usable())
			}
		}
		if n := len(web.requests()); n < 100 || n > 160 {
			t.Errorf("%d requests in an hour, want about two a minute", n)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("the error was logged %d times:\n%s", n, log.String())
		}
	})
}
