package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestParseDestinations(t *testing.T) {
	hosts := []string{"a.example"}
	for name, want := range map[string]wire.Field{
		"":              {Name: "dapr-api-token"},
		"X-API-Key":     {Name: "x-api-key"},
		"AUTHORIZATION": {Name: "authorization", Bearer: true},
	} {
		d, err := wire.ParseDestinations(name, hosts, true)
		if err != nil || d.Field != want {
			t.Errorf("ParseDestinations(%q) = %+v, %v; want the field %v", name, d, err, want)
		}
		if len(d.Hosts) != 1 || !d.AllowPlaintext {
			t.Errorf("ParseDestinations(%q) = %+v; want one host, with plain text allowed", name, d)
		}
		// A receiver reads what a sender writes.
		if got := d.Field.Token([]string{d.Field.Value("t")}); got != "t" {
			t.Errorf("ParseDestinations(%q): %q arrives as %q", name, "t", got)
		}
	}
	for _, name := range []string{" ", "dapr-api-token: the-canary-token", "Host", "x\r\ny"} {
		_, err := wire.ParseDestinations(name, nil, false)
		if err == nil {
			t.Errorf("ParseDestinations(%q): no error", name)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "Header ") || !strings.Contains(text, "Hosts is empty") {
			t.Errorf("ParseDestinations(%q): %v; want an error about the header and one about the hosts", name, err)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("ParseDestinations(%q): the error quotes the entry: %v", name, err)
		}
	}
}

func TestCurrentToken(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		token string
		err   error
		want  error
	}{
		"a token": {"t", nil, nil},
		"empty":   {"", nil, verify.ErrUnavailable},
		"error":   {"t", failed, failed},
	} {
		token, err := wire.CurrentToken(func() (string, error) { return c.token, c.err })
		if !errors.Is(err, c.want) || (token == "t") != (c.want == nil) {
			t.Errorf("%s: CurrentToken = %q, %v; want the error %v", name, token, err, c.want)
		}
	}
}
