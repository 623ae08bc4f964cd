package extauthz

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good = "CANARY-5be0a2-good"
	old  = "CANARY-5be0a2-old"
	bad  = "CANARY-5be0a2-bad"
)

// An Agent decides about tokens, and reports whether it can.
type Agent interface {
	verify.Verifier
	Ready() bool
	Updated() <-chan struct{}
}

// lone is one realm, which every request belongs to.
type lone struct {
	Agent
	rule *Rule
}

func (l lone) Rule(string, bool, string) *Rule { return l.rule }

func alone(a Agent, headers []string) Realms {
	return lone{a, NewRule(httpauth.New(a, httpauth.Options{Headers: headers, ForwardAuth: true}))}
}

// startAgent starts an agent on a file with text. If text is "", the file does not exist
// yet.
func startAgent(tb testing.TB, text string, log *slog.Logger) (a *agent.Agent, path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "token")
	if text != "" {
		write(tb, path, text)
	}
	a, err := agent.Start(tb.Context(), agent.Config{
		TokenFile: path, WaitForSource: text == "", Poll: 20 * time.Millisecond, Debounce: -1, Logger: log,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = a.Close() })
	return a, path
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		tb.Fatal(err)
	}
}

// serve runs s on network until the test ends, and returns a connection to it.
func serve(tb testing.TB, s interface {
	Serve(l net.Listener) error
}, stop func(), network string,
) *grpc.ClientConn {
	tb.Helper()
	addr, scheme := "127.0.0.1:0", ""
	if network == "unix" {
		addr, scheme = filepath.Join(tb.TempDir(), "s"), "unix:"
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), network, addr)
	if err != nil {
		tb.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	tb.Cleanup(func() { stop(); serving.Wait() })
	conn, err := grpc.NewClient(scheme+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// front serves ext_authz for a, and returns its client and the log.
func front(tb testing.TB, a Agent, network string, headers ...string) (authv3.AuthorizationClient, *testlog.Log) {
	tb.Helper()
	log := &testlog.Log{}
	s := New(alone(a, headers), log.Logger())
	return authv3.NewAuthorizationClient(serve(tb, s, func() { _ = s.Close() }, network)), log
}

// joined returns a request in Envoy's default form, and raw one in the form of
// encode_raw_headers. Names and values alternate.
func joined(pairs ...string) *authv3.CheckRequest {
	h := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if was, again := h[pairs[i]]; again {
			h[pairs[i]] = was + "," + pairs[i+1]
		} else {
			h[pairs[i]] = pairs[i+1]
		}
	}
	return from(&authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", Headers: h})
}

func raw(pairs ...string) *authv3.CheckRequest {
	var h []*corev3.HeaderValue
	for i := 0; i < len(pairs); i += 2 {
		h = append(h, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return from(&authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", HeaderMap: &corev3.HeaderMap{Headers: h}})
}

func from(r *authv3.AttributeContext_HttpRequest) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}},
		}}},
		Request: &authv3.AttributeContext_Request{Http: r},
	}}
}

func check(tb testing.TB, c authv3.AuthorizationClient, r *authv3.CheckRequest) *authv3.CheckResponse {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	answer, err := c.Check(ctx, r, grpc.WaitForReady(true))
	if err != nil {
		tb.Fatalf("a decision came as an error of the call: %v", err)
	}
	return answer
}

func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("not within 20 s: %s", what)
		}
	}
}
