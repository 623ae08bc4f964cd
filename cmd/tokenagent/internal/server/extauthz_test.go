package server

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
)

func dialGRPC(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// watchHealth watches the health of the server behind conn. follows receives the next
// status, which must be want.
func watchHealth(ctx context.Context, t *testing.T, conn *grpc.ClientConn) (watch healthpb.Health_WatchClient, follows func(want healthpb.HealthCheckResponse_ServingStatus)) {
	t.Helper()
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return watch, func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if r, err := watch.Recv(); err != nil || r.GetStatus() != want {
			t.Fatalf("health: %v, %v; want %v", r, err, want)
		}
	}
}

// randomHeaders are headers as a client might send them: "Name: value" lines.
func randomHeaders(r *rand.Rand) []string {
	names := []string{"dapr-api-token", "Dapr-Api-Token", "DAPR-API-TOKEN", "Authorization", "authorization", "X-Tokenagent-Subject", "x_tokenagent_subject", "X-Tokenagent_Subject", "X-Tokenagent-Method", "x_tokenagent_method", "dapr_api_token", "Dapr.Api-Token", "X.Tokenagent.Subject", "X-Tokenagent~Method", "X-Other"}
	tokens := []string{good, next, bad, "", good + "," + good, good[:len(good)-1], strings.ToLower(good), "token"}
	schemes := []string{"", "", "", "Bearer ", "bearer ", "BEARER  ", "Bearer", "Basic ", "Bearer Bearer ", "Bearer, "}
	var lines []string
	for range r.IntN(4) {
		lines = append(lines, names[r.IntN(len(names))]+": "+schemes[r.IntN(len(schemes))]+tokens[r.IntN(len(tokens))])
	}
	return lines
}

// asEnvoy returns the headers in the form that Envoy sends: names in lower case, and
// values without surrounding blanks. Headers with the same name are separate or joined.
func asEnvoy(lines []string, raw bool) *authv3.CheckRequest {
	h := &authv3.AttributeContext_HttpRequest{Headers: map[string]string{}, HeaderMap: &corev3.HeaderMap{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		if raw {
			h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
		} else if was, again := h.Headers[name]; again {
			h.Headers[name] = was + "," + value
		} else {
			h.Headers[name] = value
		}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: h}}}
}

// passedOn changes the headers as Envoy does for an accepted request: it sets headers,
// then removes headers.
func passedOn(lines []string, ok *authv3.OkHttpResponse) map[string][]string {
	h := map[string][]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		name = strings.ToLower(name)
		h[name] = append(h[name], strings.Trim(value, " \t"))
	}
	for _, set := range ok.GetHeaders() {
		h[set.GetHeader().GetKey()] = []string{set.GetHeader().GetValue()}
	}
	for _, name := range ok.GetHeadersToRemove() {
		delete(h, name)
	}
	return h
}

// TestOneSetOfRulesForHTTPAndGRPC: for random headers, ext_authz over gRPC decides as
// forward auth does, with the same challenge and identity. Envoy then passes on the same
// headers as the proxy.
func TestOneSetOfRulesForHTTPAndGRPC(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, next)
	write(t, path, good)
	if _, err := a.Reload(); err != nil { // next is in its overlap
		t.Fatal(err)
	}
	forward := front(t, a, Options{})
	var mu sync.Mutex
	var arrived http.Header
	through := front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrived = r.Header.Clone()
	}))})
	authz := extauthz.New(single(a, Options{Logger: slog.New(slog.DiscardHandler)}), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = authz.Close() })

	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	yes := 0
	for range 600 {
		lines := randomHeaders(r)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%q (seed %d): "+format, append([]any{lines, seed}, args...)...)
		}
		byHTTP := ask(t, "GET", forward, lines...)
		for _, raw := range []bool{true, false} {
			byGRPC, err := authz.Check(t.Context(), asEnvoy(lines, raw))
			if err != nil {
				t.Fatal(err)
			}
			if d := byGRPC.GetDeniedResponse(); d != nil {
				if byHTTP.code != int(d.GetStatus().GetCode()) {
					fail("HTTP %d, gRPC (raw %t) %v", byHTTP.code, raw, d)
				}
				for _, h := range d.GetHeaders() {
					// A header that came twice cannot be recognized after it was joined.
					if got := byHTTP.Get(h.GetHeader().GetKey()); raw && got != h.GetHeader().GetValue() {
						fail("%s: HTTP %q, gRPC %q", h.GetHeader().GetKey(), got, h.GetHeader().GetValue())
					}
				}
				continue
			}
			ok := byGRPC.GetOkResponse()
			if byHTTP.code != http.StatusOK || byHTTP.Get("X-Tokenagent-Subject") != ok.GetHeaders()[0].GetHeader().GetValue() || byHTTP.Get("X-Tokenagent-Method") != ok.GetHeaders()[1].GetHeader().GetValue() {
				fail("HTTP %d %v, gRPC (raw %t) %v", byHTTP.code, byHTTP.Header, raw, ok)
			}
			yes++
			if got := ask(t, "GET", through, lines...); got.code != http.StatusOK {
				fail("the proxy refuses: %d", got.code)
			}
			mu.Lock()
			envoy := passedOn(lines, ok)
			for _, name := range []string{"dapr-api-token", "authorization", "x-tokenagent-subject", "x_tokenagent_subject", "x-tokenagent_subject", "x_tokenagent-subject", "x-tokenagent-method", "x_tokenagent_method", "dapr_api_token", "dapr.api-token", "x.tokenagent.subject", "x-tokenagent~method", "x-other"} {
				// The order differs: Go's client sorts by name, and treats two spellings
				// of a name as two names.
				proxied := slices.Sorted(slices.Values(arrived[http.CanonicalHeaderKey(name)]))
				if !slices.Equal(proxied, slices.Sorted(slices.Values(envoy[name]))) {
					fail("%s goes on as %q through the proxy, as %q through Envoy", name, proxied, envoy[name])
				}
			}
			mu.Unlock()
		}
	}
	if yes < 20 {
		t.Errorf("%d of 600 were let through: the headers are too random to show anything (seed %d)", yes, seed)
	}
}

func TestRunServesAndDrainsGRPC(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "")
	socket := filepath.Join(t.TempDir(), "authz.sock")
	d := runDaemon(t, a, Options{GRPCListen: "unix://" + socket}, "X-App-Token")
	conn := dialGRPC(t, "unix:"+socket)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, follows := watchHealth(ctx, t, conn)
	follows(healthpb.HealthCheckResponse_NOT_SERVING)
	write(t, path, good)
	follows(healthpb.HealthCheckResponse_SERVING)
	answer, err := authv3.NewAuthorizationClient(conn).Check(ctx, asEnvoy([]string{"X-App-Token: " + good}, false))
	if err != nil || answer.GetOkResponse() == nil {
		t.Errorf("%v, %v", answer, err)
	}
	d.stop()
	follows(healthpb.HealthCheckResponse_NOT_SERVING)
	if err := <-d.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if strings.Contains(d.log.String(), "cut off") {
		t.Error("the watch held up the drain")
	}
	if _, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
		t.Error("the socket still answers")
	}
}

// TestGRPCAddressInUseNamesItsFlag: the error names the flag, and the listeners that were
// opened before are closed.
func TestGRPCAddressInUseNamesItsFlag(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	d := runDaemon(t, a, Options{})
	o := Options{Listen: freeAddr(t), GRPCListen: strings.TrimPrefix(d.main, "http://"), Logger: slog.New(slog.DiscardHandler)}
	if err := Run(t.Context(), single(a, o), o); err == nil || !strings.HasPrefix(err.Error(), "--grpc-listen: ") {
		t.Errorf("%v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", o.Listen)
	if err != nil {
		t.Fatalf("--listen stays open: %v", err)
	}
	_ = l.Close()
}
