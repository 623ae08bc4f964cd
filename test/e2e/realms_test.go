package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tenants are the realms of TestRealms: two that nginx names by path, and one by
// the Host alone.
var tenants = []string{"orders", "payments", "users.example"}

// realmsSite has a location for each realm, in nginx's own words.
const realmsSite = `
	upstream agent { server unix:SOCKET; keepalive 16; }
	upstream app { server unix:APP; }
	server { listen unix:APP; location / { return 204; } }
	server {
		listen GATEWAY;
		location = /_orders { internal; proxy_pass http://agent/verify/orders; include PROXY; }
		location = /_payments { internal; proxy_pass http://agent/verify/payments; include PROXY; }
		location = /_host { internal; proxy_pass http://agent/; proxy_set_header Host $host; include PROXY; }
		location /orders { auth_request /_orders; proxy_pass http://app; }
		location /payments { auth_request /_payments; proxy_pass http://app; }
		location /users.example { auth_request /_host; proxy_pass http://app; }
	}`

// realmsFile is the configuration in its nth form: orders changes its overlap, and
// a realm comes and goes.
func realmsFile(n int, dirs map[string]string) string {
	text := fmt.Sprintf("realms:\n  orders: {token-file: %s, overlap: %dm}\n  payments: {token-file: %s, overlap: 10m}\n  users: {token-file: %s, hosts: users.example, overlap: 10m}\n",
		dirs["orders"], 10+n, dirs["payments"], dirs["users.example"])
	if n%2 == 1 {
		text += fmt.Sprintf("  guest: {token-file: %s}\n", dirs["orders"])
	}
	return text
}

// TestRealms rotates three realms 20 times each behind one nginx, under load, and changes
// the configuration file as often. Nothing is refused, no realm accepts the token of
// another, and no token is accepted after its revocation.
func TestRealms(t *testing.T) {
	t.Parallel()
	const rounds = 20
	s := &stand{t: t, dir: t.TempDir(), client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	t.Cleanup(s.client.CloseIdleConnections)
	mounts, dirs, tokens := map[string]*secretMount{}, map[string]string{}, map[string]*atomic.Pointer[sharedToken]{}
	everyToken := []sharedToken{}
	fresh := func(name string, keys map[string]string) sharedToken {
		token := newToken()
		everyToken = append(everyToken, token)
		keys["token"] = string(token)
		mounts[name].Publish(keys)
		return token
	}
	for _, name := range tenants {
		mounts[name], tokens[name] = newSecretMount(t), &atomic.Pointer[sharedToken]{}
		dirs[name] = mounts[name].Dir
		token := fresh(name, map[string]string{})
		tokens[name].Store(&token)
	}
	file := s.write("realms.yaml", realmsFile(0, dirs))
	admin := freePort(t)
	start := func() *process {
		return startProcess(t, "tokenagent", built(t, tokenagentBinary), []string{
			"run", "--config", file, "--listen", "unix://" + s.socket("forward"), "--admin-listen", loopback(admin),
		}, nil)
	}
	s.view = &daemon{t: t, process: start(), start: start, admin: "http://" + loopback(admin), client: &http.Client{Timeout: 5 * time.Second}}
	t.Cleanup(s.view.client.CloseIdleConnections)
	s.view.answers()
	base := s.realmsNginx()
	ask := func(name string, token sharedToken) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, ".") {
			r.Host = name
		}
		r.Header["dapr-api-token"] = []string{string(token)}
		res, err := s.client.Do(r)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	waitFor(t, 20*time.Second, "nginx answers", func() bool { return ask("orders", *tokens["orders"].Load()) == http.StatusNoContent })

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var sent, refused, crossed atomic.Int64
	for i, name := range tenants {
		load.Go(func() {
			for ctx.Err() == nil {
				status := ask(name, *tokens[name].Load())
				other := ask(tenants[(i+1)%len(tenants)], *tokens[name].Load())
				if ctx.Err() != nil {
					return
				}
				sent.Add(1)
				if status != http.StatusNoContent {
					refused.Add(1)
					t.Errorf("%s: %d", name, status)
				}
				if other != http.StatusUnauthorized {
					crossed.Add(1)
				}
			}
		})
	}
	for n := 1; n <= rounds; n++ {
		if err := os.WriteFile(file+".new", []byte(realmsFile(n, dirs)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		for _, name := range tenants {
			old := *tokens[name].Load()
			keys := map[string]string{}
			token := fresh(name, keys)
			waitFor(t, 20*time.Second, "the new token is accepted", func() bool { return ask(name, token) == http.StatusNoContent })
			from := sent.Load()
			waitFor(t, 20*time.Second, "senders go on with the old token", func() bool { return sent.Load() > from+6 })
			tokens[name].Store(&token)
			if n%5 != 0 {
				continue
			}
			from = sent.Load()
			waitFor(t, 20*time.Second, "senders use the new token", func() bool { return sent.Load() > from+6 })
			keys["token-revoked"] = old.Digest()
			mounts[name].Publish(keys)
			waitFor(t, 20*time.Second, "the old token is refused", func() bool { return ask(name, old) == http.StatusUnauthorized })
			for range 10 {
				if status := ask(name, old); status != http.StatusUnauthorized {
					t.Errorf("%s: revoked, and %d", name, status)
				}
			}
		}
		waitFor(t, 20*time.Second, "the file is in force", func() bool {
			return parseMetrics(t, s.view.Metrics()).Sum("tokenagent_realms", nil) == float64(3+n%2)
		})
	}
	stop()
	load.Wait()
	if refused.Load() != 0 || crossed.Load() != 0 || sent.Load() < 10*rounds {
		t.Errorf("of %d requests %d were refused, and %d tokens opened another realm", sent.Load(), refused.Load(), crossed.Load())
	}
	t.Logf("%d rotations of %d realms and %d changes of their file: %d requests, %d refused", rounds, len(tenants), rounds, sent.Load(), refused.Load())
	everything := s.view.Log() + s.view.Metrics() + s.view.Pages()
	for _, token := range everyToken {
		if token.Leaked(everything) {
			t.Error("tokenagent shows a token")
		}
	}
}

// realmsNginx starts nginx with realmsSite and returns its address.
func (s *stand) realmsNginx() (base string) {
	s.t.Helper()
	gateway := loopback(freePort(s.t))
	proxy := s.write("proxy.conf", `proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length "";`)
	site := strings.NewReplacer("SOCKET", s.socket("forward"), "APP", s.socket("app"), "GATEWAY", gateway, "PROXY", proxy).Replace(realmsSite)
	main := s.write("nginx.conf", strings.NewReplacer("DIR", s.dir, "SITE", site).Replace(`
		daemon off; master_process on; worker_processes 2; pid DIR/nginx.pid; user root;
		error_log stderr error;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
			SITE
		}`))
	startProcess(s.t, "nginx", installed(s.t, "nginx"), []string{"-c", main, "-e", "stderr"}, nil)
	return "http://" + gateway
}
