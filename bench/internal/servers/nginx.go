package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// HaveNginx reports whether nginx is installed.
func HaveNginx() bool { _, err := exec.LookPath("nginx"); return err == nil }

// Caddy returns the path of an installed Caddy.
func Caddy() (string, error) { return exec.LookPath("caddy") }

// Before starts an nginx that asks the server at addr about each request, and returns
// where it listens. With app, its configuration is the file of deploy/gateways, and it
// forwards accepted requests to an app, which is another server of the same nginx.
// Without app, nginx answers accepted requests itself, so that little besides the check
// is measured.
func Before(ctx context.Context, addr Addr, app bool, dir string) (at Addr, stop func(), err error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return Addr{}, nil, err
	}
	if dir, err = os.MkdirTemp(dir, "nginx"); err != nil {
		return Addr{}, nil, err
	}
	if at, err = New(ctx, "tcp", dir); err != nil {
		return Addr{}, nil, err
	}
	site := fmt.Sprintf(alone, addr.Nginx(), at.Address)
	if app {
		if site, err = deployed(ctx, addr, at, filepath.Join(dir, "app.sock")); err != nil {
			return Addr{}, nil, err
		}
	}
	main := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(main, []byte(strings.NewReplacer("DIR", dir, "SITE", site, "USER", user()).Replace(around)), 0o600); err != nil {
		return Addr{}, nil, err
	}
	stop, err = Start(ctx, at, nil, path, "-c", main, "-e", "stderr")
	return at, stop, err
}

// around is the configuration around the servers, with and without app. The workers run
// as the current user.
const around = `
daemon off; master_process on; worker_processes auto; pid DIR/nginx.pid; error_log stderr error; USER
events { worker_connections 256; }
http {
	access_log off;
	keepalive_requests 100000000;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	SITE
}
`

// user returns the directive that keeps the workers on the user root, because another
// user could not write to the socket.
func user() string {
	if os.Getuid() == 0 {
		return "user root;"
	}
	return ""
}

// alone is a server without an app. Its location /_tokenagent is the one of the file of
// deploy/gateways.
const alone = `
	upstream tokenagent { server %s; keepalive 32; keepalive_requests 100000000; }
	server {
		listen %s;
		location / {
			auth_request /_tokenagent;
			auth_request_set $tokenagent_subject $upstream_http_x_tokenagent_subject;
			empty_gif;
		}
		location = /_tokenagent {
			internal;
			proxy_pass http://tokenagent;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Content-Length "";
			proxy_pass_request_body off;
		}
	}
`

// deployed returns the file of deploy/gateways, which users start from, with other
// addresses.
func deployed(ctx context.Context, addr, at Addr, app string) (string, error) {
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "gateways", "nginx", "tokenagent.conf"))
	if err != nil {
		return "", err
	}
	site := string(text)
	for _, r := range [][2]string{{"unix:/run/tokenagent/forward.sock", addr.Nginx()}, {"127.0.0.1:3000", "unix:" + app}, {"127.0.0.1:8080", at.Address}} {
		if !strings.Contains(site, r[0]) {
			return "", fmt.Errorf("deploy/gateways/nginx/tokenagent.conf: does not contain %q", r[0])
		}
		site = strings.ReplaceAll(site, r[0], r[1])
	}
	return site + fmt.Sprintf("\nserver { listen unix:%s; location / { empty_gif; } }\n", app), nil
}
