package e2e

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// nginx starts the system's nginx in front of the app, with the file of deploy/gateways.
func (s *stand) nginx() {
	s.t.Helper()
	gateway := loopback(freePort(s.t))
	site := s.write("tokenagent.conf", s.config("nginx/tokenagent.conf",
		"unix:/run/tokenagent/forward.sock", "unix:"+s.socket("forward"), "127.0.0.1:3000", s.app, "127.0.0.1:8080", gateway))
	// Here the workers run as the same user as tokenagent.
	main := s.write("nginx.conf", strings.NewReplacer("DIR", s.dir, "SITE", site).Replace(`
		daemon off; master_process on; worker_processes 2; pid DIR/nginx.pid; user root;
		error_log stderr info;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
			include SITE;
		}`))
	p := startProcess(s.t, "nginx", installed(s.t, "nginx"), []string{"-c", main, "-e", "stderr"}, nil)
	s.serves(p, "http://"+gateway)
}

func (s *stand) caddy() {
	s.t.Helper()
	gateway := loopback(freePort(s.t))
	site := s.write("Caddyfile", "{\n\tadmin off\n}\n"+s.config("caddy/Caddyfile",
		"unix//run/tokenagent/forward.sock", "unix/"+s.socket("forward"), "127.0.0.1:3000", s.app, "127.0.0.1:8080", gateway))
	p := startProcess(s.t, "caddy", installed(s.t, "caddy"), []string{"run", "--adapter", "caddyfile", "--config", site},
		[]string{"XDG_DATA_HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir})
	s.serves(p, "http://"+gateway)
}

func (s *stand) traefik() {
	s.t.Helper()
	gateway := loopback(freePort(s.t))
	routes := s.write("dynamic.yaml", s.config("traefik/dynamic.yaml", "127.0.0.1:9465", s.forward, "127.0.0.1:3000", s.app))
	p := startProcess(s.t, "traefik", built(s.t, traefikBinary), []string{
		"--entryPoints.web.address=" + gateway, "--providers.file.filename=" + routes,
		"--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
	}, nil)
	s.serves(p, "http://"+gateway)
}

// serves waits until the gateway answers.
func (s *stand) serves(p *process, base string) {
	s.t.Helper()
	s.through(base)
	waitFor(s.t, 20*time.Second, "the gateway answers", func() bool {
		if !p.Running() {
			s.t.Fatalf("the gateway ended with exit code %d", p.ExitCode())
		}
		status, _, err := s.ask()
		return err == nil && status != http.StatusNotFound // Traefik answers 404 until it has read its file
	})
}

// extAuthz takes the place of Envoy, which is not installed. It asks over gRPC with
// Envoy's own types. If the answer accepts the request, it sets and then removes headers,
// and sends the request to the app.
func (s *stand) extAuthz() {
	s.t.Helper()
	conn, err := grpc.NewClient("unix:"+s.socket("authz"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if r, err := healthpb.NewHealthClient(conn).Check(s.t.Context(), &healthpb.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"}); err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		s.t.Fatalf("health: %v, %v", r, err)
	}
	s.through("http://" + s.app)
	app, authz := s.ask, authv3.NewAuthorizationClient(conn)
	s.ask = func(headers ...string) (int, http.Header, error) {
		var all []*corev3.HeaderValue
		onward := http.Header{}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			name = strings.ToLower(name)
			all = append(all, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
			onward[name] = append(onward[name], value)
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
		defer cancel()
		r, err := authz.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{Headers: all}},
		}}})
		if err != nil {
			return 0, nil, err
		}
		if d := r.GetDeniedResponse(); r.GetStatus().GetCode() != 0 {
			h := http.Header{}
			for _, set := range d.GetHeaders() {
				h.Set(set.GetHeader().GetKey(), set.GetHeader().GetValue())
			}
			return int(d.GetStatus().GetCode()), h, nil
		}
		for _, set := range r.GetOkResponse().GetHeaders() {
			onward[set.GetHeader().GetKey()] = []string{set.GetHeader().GetValue()}
		}
		for _, name := range r.GetOkResponse().GetHeadersToRemove() {
			delete(onward, name)
		}
		var lines []string
		for name, values := range onward {
			for _, value := range values {
				lines = append(lines, name+": "+value)
			}
		}
		return app(lines...)
	}
}

// A gateway is a gateway that the tests can run.
type gateway struct {
	start func(s *stand)
	tcp   bool // it asks over TCP, not over a Unix socket
	alone int  // its status if tokenagent does not answer
}

var gateways = map[string]gateway{
	"nginx":     {start: (*stand).nginx, alone: http.StatusServiceUnavailable},
	"caddy":     {start: (*stand).caddy, alone: http.StatusBadGateway},
	"traefik":   {start: (*stand).traefik, alone: http.StatusInternalServerError, tcp: true},
	"ext_authz": {start: (*stand).extAuthz},
}

// whole lists the gateways that are programs.
func whole() map[string]gateway {
	programs := maps.Clone(gateways)
	delete(programs, "ext_authz")
	return programs
}

// behind runs test with each gateway. Each has its own tokenagent.
func behind(t *testing.T, gateways map[string]gateway, token func() sharedToken, test func(s *stand, g gateway)) {
	t.Helper()
	for name, g := range gateways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, token(), g.tcp)
			g.start(s)
			test(s, g)
		})
	}
}

// TestGateway rotates 24 times under load behind each gateway: nothing is
// refused, and nothing is accepted after its revocation.
func TestGateway(t *testing.T) {
	behind(t, gateways, newToken, func(s *stand, _ gateway) {
		s.semantics()
		s.rotate()
	})
}

// TestGatewayBeforeTheSecret: until the Secret exists, a gateway answers 503 with
// Retry-After.
func TestGatewayBeforeTheSecret(t *testing.T) {
	behind(t, whole(), func() sharedToken { return "" }, func(s *stand, _ gateway) {
		token := newToken()
		status, h, err := s.ask(dapr(token))
		if err != nil || status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
			s.t.Errorf("%d, %v, %v", status, h, err)
		}
		s.mount.Publish(map[string]string{"token": string(token)})
		waitFor(s.t, 20*time.Second, "the token is accepted", func() bool { return s.must(dapr(token)) == http.StatusOK })
	})
}

// TestGatewayWithoutTokenagent: if tokenagent does not answer, the gateway lets no
// request through.
func TestGatewayWithoutTokenagent(t *testing.T) {
	behind(t, whole(), newToken, func(s *stand, g gateway) {
		if s.must(dapr(s.tokens[0])) != http.StatusOK {
			s.t.Fatal("the token is not accepted")
		}
		s.view.process.Stop()
		before := s.arrived.Load()
		for _, headers := range [][]string{nil, {dapr(s.tokens[0])}, {"X-Tokenagent-Subject: token"}} {
			if status := s.must(headers...); status != g.alone {
				s.t.Errorf("status %d, want %d", status, g.alone)
			}
		}
		if s.arrived.Load() != before {
			s.t.Error("the request reached the app")
		}
	})
}
