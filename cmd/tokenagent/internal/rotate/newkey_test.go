package rotate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

const hmacCanary = "CANARY-9d21-0123456789-0123456789"

func parseKey(t *testing.T, text string) content.Credential {
	t.Helper()
	c, err := content.ParseFile([]byte(text), content.Options{Kind: content.Keys})
	if err != nil {
		t.Fatal(err)
	}
	return c.Current
}

// The example of RFC 8037 appendix A.2, whose thumbprint appendix A.3 gives.
const (
	public     = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	publicPEM  = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
)

func TestSetKeysAreNamedByThumbprint(t *testing.T) {
	for name, text := range map[string]string{"PEM": publicPEM, "JWK": public, "JWK with more": `{ "x5t":"é",` + public[1:], "named": `{"kid":"2031",` + public[1:]} {
		got, err := forSet(parseKey(t, "\n"+text))
		want := thumbprint
		if name == "named" {
			want = "2031"
		}
		if err != nil || got.Key().KeyID() != want || keygen.Thumbprint(got.Key()) != thumbprint {
			t.Errorf("%s: %v, %v", name, got.Key().KeyID(), err)
		}
		if name == "JWK with more" && !strings.Contains(got.Reveal(), `"x5t":"é"`) {
			t.Errorf("a member is lost: %s", got.Reveal())
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(got.Reveal()), &members); err != nil || members["kid"] != want {
			t.Errorf("%s: %v, %v", name, members, err)
		}
	}
	got, err := forSet(parseKey(t, hmacCanary+"\n"))
	if err != nil || got.ID() != parseKey(t, hmacCanary).ID() || got.Key().Algorithm() != "HS256" {
		t.Errorf("a secret: %v, %v", got, err)
	}
}

// Nothing that was made shows itself.
func TestKeysThatAreMadeShowNothing(t *testing.T) {
	for _, model := range []string{publicPEM, public, hmacCanary, `{"kty":"oct","k":"Q0FOQVJZLTlkMjEtMDEyMzQ1Njc4OS0wMTIzNDU2Nzg5"}`} {
		made, private, err := keyLike(parseKey(t, model), false)
		if err != nil {
			t.Fatal(err)
		}
		hidden := []string{"PRIVATE", "PUBLIC", "Q0FOQVJZ"}
		if private.Reveal() == "" {
			hidden = append(hidden, made.Reveal())
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, shown := range []string{fmt.Sprintf(verb, private), fmt.Sprintf(verb, made), fmt.Sprintf(verb, content.Content{Current: made})} {
				for _, text := range hidden {
					if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
						t.Errorf("%s shows %s", verb, shown)
					}
				}
			}
		}
		if text, err := json.Marshal([]any{made, private}); err != nil || strings.Contains(string(text), "PRIVATE") {
			t.Errorf("%s, %v", text, err)
		}
	}
}
