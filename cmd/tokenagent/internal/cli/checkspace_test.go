package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// TestCheckWarnsOfANewlineThatDaprdSends: daprd sends the value of a Secret's key token
// unchanged, with a newline in it.
func TestCheckWarnsOfANewlineThatDaprdSends(t *testing.T) {
	const warning = "key token has a newline beside the token; daprd sends it"
	for value, warns := range map[string]bool{good + "\n": true, good + "\r\n": true, good: false} {
		mount, plain := t.TempDir(), filepath.Join(t.TempDir(), "token")
		if err := kubemount.Write(mount, map[string][]byte{"token": []byte(value)}, 0o400); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(plain, []byte(value), 0o400); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]bool{mount: warns, filepath.Join(mount, "token"): warns, plain: false} {
			o := invoke(t, "", "check", "--token-file", path)
			if got := strings.Contains(o.out, "warning: "+warning); got != want || o.code != 0 {
				t.Errorf("%q: code %d\n%s", value, o.code, o.out)
			}
		}
	}
}

func TestCheckNamesTheExistingKeys(t *testing.T) {
	mount := t.TempDir()
	if err := kubemount.Write(mount, map[string][]byte{"APP_API_TOKEN": []byte(good)}, 0o400); err != nil {
		t.Fatal(err)
	}
	if o := invoke(t, "", "check", "--token-file", mount); o.code != 1 || !strings.Contains(o.out+o.errOut, "no key token; put the current token there; the keys there are APP_API_TOKEN") {
		t.Errorf("code %d: %s%s", o.code, o.out, o.errOut)
	}
}
