package podaccount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	before := Dir
	t.Cleanup(func() { Dir = before })
	Dir = t.TempDir()
	for _, c := range []struct{ name, host, port, wantErr string }{
		{"no variables", "", "", "not a pod"},
		{"no port", "10.96.0.1", "", "not a pod"},
		{"no host", "", "443", "not a pod"},
		{"no token", "10.96.0.1", "443", "automountServiceAccountToken: true"},
	} {
		t.Setenv(hostEnv, c.host)
		t.Setenv(portEnv, c.port)
		if a, err := Find(); err == nil || !strings.Contains(err.Error(), c.wantErr) || a != (Account{}) {
			t.Errorf("%s: %v, %v; want an error with %q", c.name, a, err, c.wantErr)
		}
	}
	if err := os.WriteFile(filepath.Join(Dir, "token"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, url := range map[string]string{
		"10.96.0.1": "https://10.96.0.1:443/openid/v1/jwks",
		"fd00::1":   "https://[fd00::1]:443/openid/v1/jwks",
	} {
		t.Setenv(hostEnv, host)
		a, err := Find()
		if err != nil || a.URL("/openid/v1/jwks") != url || a.CAFile != filepath.Join(Dir, "ca.crt") || a.TokenFile != filepath.Join(Dir, "token") {
			t.Errorf("%s: %+v, %v", host, a, err)
		}
	}
}
