package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/token"
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

func TestCheckListsClients(t *testing.T) {
	dir := t.TempDir()
	keys := map[string]string{
		"token": good, "token.ci": good + "-ci", "token-next.ci": good + "-ci-next", "token.web": good + "-web",
		"token-previous.web": good + "-web-old", "token-previous-until.web": "2999-01-01T00:00:00Z", "token-previous.ci": good + "-ci-old",
		"token.ci~": good, "token-revoked.ci": good, "README": good,
	}
	mount := make(map[string][]byte)
	for key, value := range keys {
		mount[key] = []byte(value)
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	for _, line := range []string{"", "-ci name=ci", "-ci-next next name=ci", "-ci-old previous name=ci", "-web name=web", "-web-old previous until=2999-01-01T00:00:00Z name=web"} {
		text.WriteString(good + line + "\n")
	}
	one, mounted := file(t, text.String()), t.TempDir()
	if err := kubemount.Write(mounted, mount, 0o400); err != nil {
		t.Fatal(err)
	}
	fingerprint := func(suffix string) string { return token.New(good + suffix).Fingerprint() }
	for _, path := range []string{dir, mounted, one} {
		o := invoke(t, "", "check", "--token-file", path, "--allow-client", "ci", "--allow-client", "web", "--allow-client", "shop")
		o.want(t, 0,
			"client ci: current "+fingerprint("-ci")+", staged "+fingerprint("-ci-next")+", previous "+fingerprint("-ci-old")+"\n",
			"client web: current "+fingerprint("-web")+", previous "+fingerprint("-web-old")+" until 2999-01-01T00:00:00Z\n",
			"warning: the previous token "+fingerprint("-ci-old")+" of client ci has no deadline; give it one (token-previous-until.ci, or until= in a file)\n",
			"only these clients are accepted (allow-client): ci, web, shop\n",
			"warning: allow-client names shop, but the source has no accepted token of that client\n",
		)
		if strings.Contains(o.out, "current: ") || strings.Count(o.out, "allow-client names") != 1 {
			t.Errorf("%s: a token that is not allowed, or another client, is listed:\n%s", path, o.out)
		}
		if path == one {
			continue
		}
		o.want(t, 0, "ignored, because no key has such a name: README, token-revoked.ci, token.ci~\n")
		for key := range keys {
			if got, want := strings.Contains(o.out, "key "+key+": "), key != "README" && key != "token-revoked.ci" && key != "token.ci~"; got != want {
				t.Errorf("%s: key %s is listed: %t\n%s", path, key, got, o.out)
			}
		}
	}
	invoke(t, "", "check", "--token-file", dir).want(t, 0, "\ncurrent: "+fingerprint("")+"\n", "client ci: ")
}
