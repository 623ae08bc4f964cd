package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A sidecarConfig says which app the sidecar serves.
type sidecarConfig struct {
	Binary   string // daprd
	AppPort  int    // where daprd sends, with the token
	Protocol string // "http" or "grpc"
	Health   bool   // probe the app's health and hold back until it is good
	Redis    string // address of the broker

	// Redeliver makes daprd offer again what the app refused, with the Resiliency of
	// deploy/sidecar/dapr. From 1.18 on Redis pub/sub loses it otherwise.
	Redeliver bool

	// Under is the program that runs daprd and gives it its token, with its
	// arguments up to daprd's path; none means that the sidecar does both.
	Under []string
}

// A sidecar is the place of one app's daprd. The process in it is replaced,
// because daprd reads its token only once.
type sidecar struct {
	t                 testing.TB
	cfg               sidecarConfig
	client            *http.Client
	resources, config string
	current           atomic.Pointer[daprd]
}

type daprd struct {
	process *process
	base    string // of its HTTP API
}

// newSidecar prepares a sidecar without starting a process.
func newSidecar(tb testing.TB, cfg sidecarConfig) *sidecar {
	tb.Helper()
	s := &sidecar{t: tb, cfg: cfg, client: &http.Client{Timeout: 5 * time.Second}}
	s.resources, s.config = writeResources(tb, cfg)
	tb.Cleanup(s.client.CloseIdleConnections)
	return s
}

// Start runs a daprd that sends token, and returns when its API can publish.
func (s *sidecar) Start(token sharedToken) {
	s.t.Helper()
	s.current.Store(s.launch(token))
}

// Process is the daprd that runs now, or the program that runs it.
func (s *sidecar) Process() *process { return s.current.Load().process }

// Recreate stops the old daprd before it starts one with the new token.
func (s *sidecar) Recreate(token sharedToken) {
	s.t.Helper()
	s.current.Load().process.Stop()
	s.Start(token)
}

// Surge starts a daprd with the new token before it stops the old one, so
// that for a while both send.
func (s *sidecar) Surge(token sharedToken) {
	s.t.Helper()
	old := s.current.Swap(s.launch(token))
	old.process.Stop()
}

func (s *sidecar) launch(token sharedToken) *daprd {
	s.t.Helper()
	api := freePort(s.t)
	args := []string{
		"--app-id", appID,
		"--app-port", strconv.Itoa(s.cfg.AppPort),
		"--app-protocol", s.cfg.Protocol,
		"--resources-path", s.resources,
		"--config", s.config,
		"--dapr-http-port", strconv.Itoa(api),
		"--dapr-grpc-port", strconv.Itoa(freePort(s.t)),
		"--dapr-internal-grpc-port", strconv.Itoa(freePort(s.t)),
		"--dapr-listen-addresses", "127.0.0.1",
		"--dapr-internal-grpc-listen-address", "127.0.0.1",
		"--dapr-graceful-shutdown-seconds", "5",
		"--enable-metrics=false",
		"--placement-host-address", "",
		"--scheduler-host-address", "",
	}
	if s.cfg.Health {
		args = append(args,
			"--enable-app-health-check",
			"--app-health-check-path", "/healthz",
			"--app-health-probe-interval", "1",
			"--app-health-probe-timeout", "500",
			"--app-health-threshold", "1",
		)
	}
	binary := s.cfg.Binary
	if under := s.cfg.Under; len(under) > 0 {
		args = slices.Concat(under[1:], []string{binary}, args)
		binary, token = under[0], "stale-token-from-the-pod"
	}
	d := &daprd{base: "http://" + loopback(api)}
	d.process = startProcess(s.t, "daprd", binary, args, []string{
		"APP_API_TOKEN=" + string(token),
		"DAPR_HOST_IP=127.0.0.1",
	})
	waitFor(s.t, 20*time.Second, "daprd is ready to publish", func() bool {
		if !d.process.Running() {
			s.t.Fatalf("daprd ended with exit code %d", d.process.ExitCode())
		}
		return s.do(http.MethodGet, d.base+"/v1.0/healthz/outbound", "") == nil
	})
	return d
}

// Publish gives daprd a message for the topic; nil means that it has taken it.
func (s *sidecar) Publish(id string) error {
	return s.do(http.MethodPost, s.base()+"/v1.0/publish/"+pubSub+"/"+topic, strconv.Quote(id))
}

// Invoke calls the app's method through daprd; nil means that the app did it.
func (s *sidecar) Invoke(id string) error {
	return s.do(http.MethodPost, s.base()+"/v1.0/invoke/"+appID+"/method/"+appMethod, strconv.Quote(id))
}

func (s *sidecar) base() string { return s.current.Load().base }

func (s *sidecar) do(method, url, body string) error {
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return statusError(resp.StatusCode)
	}
	return nil
}

// A statusError is a status of daprd's API, or the app's own passed through it.
type statusError int

func (e statusError) Error() string { return http.StatusText(int(e)) }
