package cli

import (
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

func TestCheckKeys(t *testing.T) {
	s, other := newSigner(t, "ES256"), newSigner(t, "RS256")
	path, _ := hmac(t)
	open := file(t, secret)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(s.private)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		code int
		want []string
		not  string
	}{
		"jwks":      {s.jwks, 0, []string{"listed: ", ", kid " + s.kid(t) + ", ES256", "leaves the set is refused at once", "run needs both", "good: "}, "can be read by everyone"},
		"pem":       {other.pem, 0, []string{"current: ", ", RS256", "stays accepted for --overlap, 15m0s by default"}, "kid"},
		"secret":    {path, 0, []string{", HS256", "each verifier could forge"}, "can be read by everyone"},
		"open":      {open, 0, []string{"warning: " + open + " can be read by everyone"}, ""},
		"private":   {file(t, string(private)), 1, []string{"error: ", "a private key, which signs", "bad: "}, ""},
		"a token":   {file(t, s.sign(t)), 1, []string{"error: ", "a token, and no secret"}, ""},
		"short":     {file(t, "short"), 1, []string{"an HMAC secret of 5 bytes; HS256 needs at least 32"}, ""},
		"not there": {s.jwks + "-none", 1, []string{"error: ", s.jwks + "-none"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := invoke(t, "", "check", "--key-file", c.path)
			o.want(t, c.code, c.want...)
			if c.not != "" && strings.Contains(o.out, c.not) {
				t.Errorf("%q is in\n%s", c.not, o.out)
			}
			var r report
			o = invoke(t, "", "check", "--key-file", c.path, "--output", "json")
			if err := json.Unmarshal([]byte(o.out), &r); err != nil {
				t.Fatal(err)
			}
			if r.OK != (c.code == 0) {
				t.Errorf("ok is %t with exit code %d", r.OK, c.code)
			}
			if r.Keys == nil || r.Source != nil {
				t.Errorf("not the status of a key source alone: %s", o.out)
			}
		})
	}
	o := invoke(t, "", append([]string{"check", "--token-file", file(t, good)}, by(s.jwks)...)...)
	o.want(t, 0, "current: ", "listed: ", "good: ")
	if strings.Contains(o.out, "run needs both") {
		t.Errorf("check asks for flags that are given:\n%s", o.out)
	}
	invoke(t, "", append([]string{"check", "--token-file", file(t, "")}, by(s.jwks)...)...).want(t, 1, "nothing in it", "listed: ", "bad: ")
}

func TestCheckExplainsAMountOfKeys(t *testing.T) {
	dir, one := t.TempDir(), newSigner(t, "ES256")
	previous, err := os.ReadFile(one.pem)
	if err != nil {
		t.Fatal(err)
	}
	put := func(keys map[string][]byte) {
		if err := kubemount.Write(dir, keys, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	put(map[string][]byte{"key": []byte(secret), "key-previous": previous, "revoked": []byte("kid x\n")})
	invoke(t, "", "check", "--key-file", dir).want(t, 0, "is a mounted Secret", "key key: 43 bytes",
		"can be read by everyone", "the previous key ", "has no deadline; give it one (key-previous-until)", "1 revoked")
	put(map[string][]byte{"token": []byte(good)})
	invoke(t, "", "check", "--key-file", dir).want(t, 1, "no key jwks.json or key")
}

// TestKeysOfAnAPIServer reads the keys of a Kubernetes API server, which needs a CA and a
// token. Flags name their files, and a file of realms names them by relative paths.
func TestKeysOfAnAPIServer(t *testing.T) {
	s := newSigner(t, "ES256")
	text, err := os.ReadFile(s.jwks)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(text)
	}))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	caFile, token := file(t, ca), file(t, good)
	url := []string{"check", "--jwks-url", server.URL}
	invoke(t, "", append(url, "--jwks-ca-file", caFile, "--jwks-bearer-file", token)...).want(t, 0, "is the JWKS of a server", s.kid(t))
	invoke(t, "", url...).want(t, 1, "certificate is not trusted", "--jwks-ca-file")
	invoke(t, "", append(url, "--jwks-ca-file", caFile)...).want(t, 1, "the server answers 401", "--jwks-bearer-file")
	invoke(t, "", append(url, "--jwks-ca-file", token)...).want(t, 1, token+": no certificate")
	invoke(t, "", append(url, "--jwks-ca-file", caFile, "--jwks-bearer-file", token+"-none")...).want(t, 1, token+"-none")

	realms := realmsFile(t, "defaults: {audience: "+audience+", jwks-ca-file: ca.crt}\nrealms:\n  a: {issuer: '"+issuer+"', jwks-url: '"+server.URL+"', jwks-bearer-file: sub/token}\n  b: {token-file: sub/token}\n",
		"ca.crt", ca)
	if err := os.Mkdir(filepath.Join(filepath.Dir(realms), "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(filepath.Dir(realms), "sub", "token"), good)
	invoke(t, "", "check", "--config", realms).want(t, 0, s.kid(t))
}

func TestCheckAsksAServer(t *testing.T) {
	s := newSigner(t, "ES256")
	text, err := os.ReadFile(s.jwks)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	defer server.Close()
	invoke(t, "", "check", "--jwks-url", server.URL+"/?key="+good).want(t, 0, "is the JWKS of a server", s.kid(t))
	invoke(t, s.sign(t), "inspect", "--jwks-url", server.URL).want(t, 0, "accepted: signed by key "+s.kid(t))
	text = []byte("{}")
	invoke(t, "", "check", "--jwks-url", server.URL).want(t, 1, `the object has no "keys"`)
	server.Close()
	invoke(t, "", "check", "--jwks-url", server.URL).want(t, 1, "the connection is refused")
	invoke(t, s.sign(t), "inspect", "--jwks-url", server.URL).want(t, 1, "the connection is refused")
}
