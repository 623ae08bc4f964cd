package wire_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Class
	}{
		{verify.ErrNoToken, wire.Missing},
		{verify.ErrInvalidToken, wire.Invalid},
		{verify.ErrExpiredToken, wire.Invalid},
		{verify.ErrRevokedToken, wire.Invalid},
		{verify.ErrUnavailable, wire.Unavailable},
		{verify.ErrBusy, wire.Busy},
		{context.Canceled, wire.Unavailable},
		{errors.New("disk on fire"), wire.Unavailable},
		{nil, wire.Unavailable},
	} {
		if got := wire.ClassOf(c.err); got != c.want {
			t.Errorf("ClassOf(%v) = %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := wire.ClassOf(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("ClassOf(wrapped %v) = %d, want %d", c.err, got, c.want)
		}
	}
}

// TestClassOfSeveral: the response to the caller follows verify.Class, as the metrics do.
func TestClassOfSeveral(t *testing.T) {
	for _, c := range []struct {
		errs []error
		want wire.Class
	}{
		{[]error{verify.ErrUnavailable, verify.ErrRevokedToken}, wire.Invalid},
		{[]error{verify.ErrUnavailable, verify.ErrExpiredToken}, wire.Invalid},
		{[]error{verify.ErrInvalidToken, verify.ErrUnavailable}, wire.Invalid},
		{[]error{verify.ErrNoToken, verify.ErrInvalidToken}, wire.Invalid},
		{[]error{verify.ErrNoToken, verify.ErrUnavailable}, wire.Missing},
	} {
		if got := wire.ClassOf(errors.Join(c.errs...)); got != c.want {
			t.Errorf("ClassOf(%v) = %d, want %d", c.errs, got, c.want)
		}
	}
}

// TestP5_NoTokenNoAccess: no verifier can admit a caller without a token.
func TestP5_NoTokenNoAccess(t *testing.T) {
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "someone"})
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		token string
		p     *verify.Principal
		err   error
		want  error
	}{
		"short token: Principal":           {"t", p, nil, nil},
		"token: Principal":                 {"token", p, nil, nil},
		"short token: error":               {"t", nil, boom, boom},
		"token: error":                     {"token", nil, boom, boom},
		"short token: Principal and error": {"t", p, boom, boom},
		"token: Principal and error":       {"token", p, boom, boom},
		"short token: neither":             {"t", nil, nil, verify.ErrUnavailable},
		"token: neither":                   {"token", nil, nil, verify.ErrUnavailable},
		"no token: Principal":              {"", p, nil, verify.ErrNoToken},
		"no token: error":                  {"", nil, boom, boom},
		"no token: neither":                {"", nil, nil, verify.ErrNoToken},
		"header sent twice: Principal":     {verify.Malformed, p, nil, verify.ErrInvalidToken},
		"header sent twice: neither":       {verify.Malformed, nil, nil, verify.ErrInvalidToken},
	} {
		got, err := wire.EnforceContract(c.token, c.p, c.err)
		if !errors.Is(err, c.want) || (err == nil) != (got != nil) {
			t.Errorf("%s: EnforceContract = %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestGRPCExempt(t *testing.T) {
	for m, want := range map[string]bool{
		"/grpc.health.v1.Health/Check":                               true,
		"/grpc.health.v1.Health/Watch":                               true,
		"/grpc.health.v1.Health/List":                                true,
		"/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions":  true,
		"/dapr.proto.runtime.v1.AppCallback/ListInputBindings":       true,
		"/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck":  true,
		"/dapr.proto.runtime.v1.AppCallback/OnInvoke":                false,
		"/dapr.proto.runtime.v1.AppCallback/OnTopicEvent":            false,
		"/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptionsX": false,
		"/grpc.health.v1.health/check":                               false,
		"grpc.health.v1.Health/Check":                                false,
		"/grpc.health.v1.Health/":                                    false,
		"":                                                           false,
	} {
		if wire.GRPCExempt(m) != want {
			t.Errorf("GRPCExempt(%q) = %t", m, !want)
		}
	}
}
