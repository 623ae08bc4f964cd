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

// TestClassOfSeveral: an answer says what verify.Class, and so the metrics, say.
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

// TestP5_NoTokenNoAccess: no verifier can open the door without a token.
func TestP5_NoTokenNoAccess(t *testing.T) {
	p := verify.NewPrincipal(verify.PrincipalConfig{Subject: "someone"})
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		token string
		p     *verify.Principal
		err   error
		want  error
	}{
		"a token and a yes":                {"t", p, nil, nil},
		"a longer token and a yes":         {"token", p, nil, nil},
		"a token and a no":                 {"t", nil, boom, boom},
		"a longer token and a no":          {"token", nil, boom, boom},
		"a longer one's no, with somebody": {"token", p, boom, boom},
		"a longer one's yes, with nobody":  {"token", nil, nil, verify.ErrUnavailable},
		"a no that comes with somebody":    {"t", p, boom, boom},
		"a yes that comes with nobody":     {"t", nil, nil, verify.ErrUnavailable},
		"a yes without a token":            {"", p, nil, verify.ErrNoToken},
		"a no without a token":             {"", nil, boom, boom},
		"a yes to a header sent twice":     {verify.Malformed, p, nil, verify.ErrInvalidToken},
		"nobody, to a header sent twice":   {verify.Malformed, nil, nil, verify.ErrInvalidToken},
		"nobody, where there is no token":  {"", nil, nil, verify.ErrNoToken},
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
