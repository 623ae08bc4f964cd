package e2e

import (
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A way is one way to put tokenagent between daprd and an app. start runs
// both and returns the port to which daprd sends and a view of tokenagent.
type way struct {
	name, protocol string
	// transit is how long after its verification a request may come to the
	// tally. Where the guard stands in the app's own process the tally looks
	// at the clock first, so there it is only what comparing the monotonic and
	// the wall clock may be wrong by. A request from the program to an app
	// takes as long as a busy machine makes it; the program's own count of
	// good verifications has no such allowance.
	transit time.Duration
	start   func(t *testing.T, tally *appTally, s setting) (port int, v view)
}

// A setting is what the tests vary about tokenagent.
type setting struct {
	dir     string // the Secret's mount
	overlap time.Duration
	fixed   bool     // the overlap begins with the new token and does not slide
	wait    bool     // start before the Secret is there
	flags   []string // further ones, of the program
	// under returns what runs daprd with the tokens of the mount; nil for none.
	under func(dir string) []string
}

var ways = []way{
	{name: "http-embedded", protocol: "http", transit: 5 * time.Millisecond, start: embeddedHTTP},
	{name: "grpc-embedded", protocol: "grpc", transit: 5 * time.Millisecond, start: embeddedGRPC},
	{name: "http-proxy", protocol: "http", transit: 2 * time.Second, start: proxyHTTP},
	{name: "grpc-proxy", protocol: "grpc", transit: 2 * time.Second, start: proxyGRPC},
}

// forEachWay runs the test for each way, several in parallel.
func forEachWay(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func embeddedHTTP(t *testing.T, tally *appTally, s setting) (int, view) {
	t.Helper()
	v := startAgent(t, s)
	guard := httpauth.Middleware(v.agent, httpauth.Options{Exempt: []string{"GET /healthz"}})
	return serveHTTPApp(t, tally, guard, v.agent.Ready), v
}

func embeddedGRPC(t *testing.T, tally *appTally, s setting) (int, view) {
	t.Helper()
	v := startAgent(t, s)
	guard := []grpc.UnaryServerInterceptor{grpcauth.UnaryServerInterceptor(v.agent, grpcauth.Options{})}
	return serveGRPCApp(t, tally, guard, v.agent.Ready), v
}

func startAgent(t *testing.T, s setting) *library {
	t.Helper()
	v := &library{registry: prometheus.NewRegistry()}
	var most time.Duration // the default: the overlap slides
	if s.fixed {
		most = -1
	}
	a, err := agent.Start(t.Context(), agent.Config{
		TokenFile:     s.dir,
		Overlap:       s.overlap,
		MaxOverlap:    most,
		WaitForSource: s.wait,
		Logger:        slog.New(slog.NewTextHandler(&v.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close the agent: %v", err)
		}
	})
	v.agent = a
	v.registry.MustRegister(a)
	return v
}

// proxyHTTP starts the program in front of an app that checks nothing. The app's health
// answer does not depend on the token, so --health-path answers for it.
func proxyHTTP(t *testing.T, tally *appTally, s setting) (int, view) {
	t.Helper()
	port := serveHTTPApp(t, tally, nil, always)
	return startProxy(t, s, "http://"+loopback(port), "/healthz")
}

func proxyGRPC(t *testing.T, tally *appTally, s setting) (int, view) {
	t.Helper()
	port := serveGRPCApp(t, tally, nil, always)
	return startProxy(t, s, "h2c://"+loopback(port), runtimev1.AppCallbackHealthCheck_HealthCheck_FullMethodName)
}

func always() bool { return true }

func startProxy(t *testing.T, s setting, upstream, healthPath string) (int, view) {
	t.Helper()
	port, admin := freePort(t), freePort(t)
	args := []string{
		"run",
		"--token-file", s.dir,
		"--listen", loopback(port),
		"--admin-listen", loopback(admin),
		"--upstream", upstream,
		"--overlap", s.overlap.String(),
		"--wait-for-source=" + strconv.FormatBool(s.wait),
		"--health-path", healthPath,
		"--log-level", "debug",
	}
	if s.fixed {
		args = append(args, "--max-overlap=-1s")
	}
	args = append(args, s.flags...)
	v := &daemon{
		t:      t,
		start:  func() *process { return startProcess(t, "tokenagent", built(t, tokenagentBinary), args, nil) },
		admin:  "http://" + loopback(admin),
		client: &http.Client{Timeout: 5 * time.Second},
	}
	v.process = v.start()
	t.Cleanup(v.client.CloseIdleConnections)
	v.answers()
	return port, v
}
