package option_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/option"
)

func TestText(t *testing.T) {
	inner := errors.New("inner")
	one := option.Errorf(option.Field, "{token-file} and {poll-interval}: %s", "{env-file}--x")
	two := option.Errorf(option.Flag, "{jwks-url}: %w", inner)
	for _, c := range []struct {
		err                   error
		own, flags, keys, lib string
	}{
		{one, "Config.TokenFile and Config.Poll: {env-file}--x", "--token-file and --poll-interval: {env-file}--x", "token-file and poll-interval: {env-file}--x", "Config.TokenFile and Config.Poll: {env-file}--x"},
		{fmt.Errorf("agent: %w", two), "agent: --jwks-url: inner", "agent: --jwks-url: inner", "agent: jwks-url: inner", "agent: Issuer.JWKSURL: inner"},
		{
			fmt.Errorf("a: %w", &multierror.Error{Errors: []error{one, inner, two}, ErrorFormat: func(e []error) string { return fmt.Sprint(e) }}),
			"a: [Config.TokenFile and Config.Poll: {env-file}--x inner --jwks-url: inner]",
			"a: [--token-file and --poll-interval: {env-file}--x inner --jwks-url: inner]",
			"a: [token-file and poll-interval: {env-file}--x inner jwks-url: inner]",
			"a: [Config.TokenFile and Config.Poll: {env-file}--x inner Issuer.JWKSURL: inner]",
		},
		{errors.Join(two, inner), "--jwks-url: inner\ninner", "--jwks-url: inner\ninner", "jwks-url: inner\ninner", "Issuer.JWKSURL: inner\ninner"},
		{inner, "inner", "inner", "inner", "inner"},
	} {
		for want, got := range map[string]string{
			c.own: c.err.Error(), c.flags: option.Text(c.err, option.Flag), c.keys: option.Text(c.err, option.Key), c.lib: option.Text(c.err, option.Field),
		} {
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	if !errors.Is(two, inner) {
		t.Error("the error that was formatted with %w is not wrapped")
	}
}
