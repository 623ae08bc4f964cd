package extauthz

import (
	"context"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A named Agent accepts only the token good, as that of the subject named.
type named string

func (n named) Verify(_ context.Context, token string) (*verify.Principal, error) {
	switch token {
	case good:
		return verify.NewPrincipal(verify.PrincipalConfig{Subject: string(n), Method: verify.MethodJWT, Source: "keys"}), nil
	case "":
		return nil, verify.ErrNoToken
	default:
		return nil, verify.ErrInvalidToken
	}
}
func (named) Ready() bool              { return true }
func (named) Updated() <-chan struct{} { return nil }

// TestSubjectIsEscaped: the issuer of a JWT chooses its sub.
func TestSubjectIsEscaped(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		"alice":                    "alice",
		"a\r\nx-admin: yes":        "a%0D%0Ax-admin:%20yes",
		"50% \u00e4\x00":           "50%25%20%C3%A4%00",
		" blank ":                  "%20blank%20",
		"not UTF-8 \xff, for gRPC": "not%20UTF-8%20%FF,%20for%20gRPC",
	} {
		c, _ := front(t, named(subject), "tcp")
		ok := check(t, c, raw("dapr-api-token", good, "x-tokenagent-subject", "forged")).GetOkResponse()
		if got := ok.GetHeaders()[0].GetHeader().GetValue(); got != want {
			t.Errorf("%q: %q, not %q", subject, got, want)
		}
		if got := ok.GetHeaders()[1].GetHeader(); got.GetKey() != "x-tokenagent-method" || got.GetValue() != "jwt" {
			t.Errorf("%q: %v", subject, got)
		}
	}
}

// FuzzCheck: for every request, the answer consists of fixed texts and can be
// marshalled, and it allows only a request with the good token in one of the two
// headers.
func FuzzCheck(f *testing.F) {
	for _, r := range []*authv3.CheckRequest{
		joined(), raw(), from(nil), joined("dapr-api-token", good), raw("authorization", "Bearer "+good, "authorization", "Bearer "+good),
		joined("authorization", "bearer "+good, "x-tokenagent-subject", "admin"), joined("dapr-api-token", good, "X.Tokenagent.Subject", "admin"), raw("Dapr-Api-Token", bad, ":path", "/"),
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	log := &testlog.Log{}
	a := alone(named("alice"), nil)
	s := New(a, log.Logger())
	u := a.Rule("", false, "")
	f.Cleanup(func() { _ = s.Close() })
	fixed := slices.Concat(misspelt, []string{"dapr-api-token", "authorization"})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r authv3.CheckRequest
		if proto.Unmarshal(b, &r) != nil {
			return // grpc-go refuses it
		}
		answer, err := s.Check(t.Context(), &r)
		if err != nil {
			t.Fatal(err)
		}
		if log.String() != "" {
			t.Fatal(log.String())
		}
		if _, err := proto.Marshal(answer); err != nil {
			t.Fatal(err)
		}
		if d := answer.GetDeniedResponse(); answer.GetStatus().GetCode() != int32(codes.OK) {
			empty, _ := s.read(t.Context(), u, nil)
			if want := u.denied(empty, verify.ErrInvalidToken); !proto.Equal(answer, want) {
				if want = u.denied(empty, verify.ErrNoToken); !proto.Equal(answer, want) {
					t.Fatalf("no fixed refusal: %v", d)
				}
			}
			return
		}
		ok := answer.GetOkResponse()
		if len(ok.GetHeaders()) != 2 || !proto.Equal(ok.GetHeaders()[0], overwrite("x-tokenagent-subject", "alice")) || !proto.Equal(ok.GetHeaders()[1], overwrite("x-tokenagent-method", "jwt")) {
			t.Fatalf("sets %v", ok.GetHeaders())
		}
		for _, name := range ok.GetHeadersToRemove() {
			if !slices.Contains(fixed, name) && !headername.Imitates(name, u.protected) {
				t.Fatalf("removes %q", name)
			}
		}
		if h, _ := u.headers(r.GetAttributes().GetRequest().GetHttp()); len(h["Dapr-Api-Token"])+len(h["Authorization"]) == 0 || !strings.Contains(string(b), good) {
			t.Fatal("a yes without the token")
		}
	})
}
