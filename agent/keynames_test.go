package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// TestErrorOfAMissingKeyNamesTheOthers: if a Secret has the token under another key, the
// error lists the keys that the Secret has.
func TestErrorOfAMissingKeyNamesTheOthers(t *testing.T) {
	t.Parallel()
	const secret = "CANARY-7f00d-0123456789"
	many := map[string][]byte{}
	for i := range 13 {
		many[fmt.Sprintf("k%02d", i)] = []byte(secret)
	}
	for name, c := range map[string]struct {
		keys map[string][]byte
		says string
	}{
		"another name":  {map[string][]byte{"APP_API_TOKEN": []byte(secret), "token-next": []byte(secret)}, "no key token; put the current token there; the keys there are APP_API_TOKEN, token-next"},
		"none":          {map[string][]byte{}, "; there are no keys at all"},
		"many":          {many, "the keys there are k00, k01, k02, k03, k04, k05, k06, k07, k08, k09 and 3 more"},
		"another error": {map[string][]byte{"token": []byte("short"), "x": nil}, "/token: "},
	} {
		mounted, plain := t.TempDir(), t.TempDir()
		if err := kubemount.Write(mounted, c.keys, 0o600); err != nil {
			t.Fatal(err)
		}
		for key, value := range c.keys {
			if err := os.WriteFile(filepath.Join(plain, key), value, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{mounted, plain} {
			a, err := agent.Start(t.Context(), agent.Config{TokenFile: dir})
			if err == nil {
				_ = a.Close()
				t.Fatalf("%s: no error", name)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v; want %q", name, err, c.says)
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: the error contains a token: %v", name, err)
			}
			if strings.Contains(err.Error(), "the keys there") && !strings.Contains(c.says, "the keys there") {
				t.Errorf("%s: %v; want no list of keys", name, err)
			}
		}
	}
}
