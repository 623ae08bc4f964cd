package sections

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// proxy compares tokenagent as a reverse proxy with two others in front of the same app:
// Go's ReverseProxy, which checks nothing, and a Caddy that compares the header with a
// constant.
func proxy(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, p, err := programs(ctx, r)
	if err != nil {
		return nil, err
	}
	token, err := work.WriteTokens(dir, 1)
	if err != nil {
		return nil, err
	}
	app, stop, err := start(ctx, dir, func(at servers.Addr) []string { return []string{p.Bare, "http", at.Flag()} })
	if err != nil {
		return nil, err
	}
	defer stop()
	ours, stop, err := start(ctx, dir, func(at servers.Addr) []string {
		return []string{p.Tokenagent, "run", "--token-file", token, "--upstream", "http://" + app.Address, "--listen", at.Flag(), "--admin-listen", ""}
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	bare, stop, err := start(ctx, dir, func(at servers.Addr) []string { return []string{p.Bare, "proxy", at.Flag(), app.Address} })
	if err != nil {
		return nil, err
	}
	defer stop()

	row, err := proxies(ctx, r, "Proxy/ReverseProxy", "httputil.ReverseProxy, which checks nothing", ours, bare)
	if err != nil {
		return nil, err
	}
	rows := []report.Row{row.AtLeast(0.95, row.Ratio.Value, "at least 95% of the peer")}

	const name = "Caddy's reverse_proxy with a header matcher"
	path, missing := servers.Caddy()
	if missing != nil {
		return append(rows, report.Row{What: "to an app", PeerName: name, Missed: "Caddy is not installed"}), nil
	}
	caddy, err := servers.New(ctx, "tcp", dir)
	if err != nil {
		return nil, err
	}
	stop, err = servers.Start(ctx, caddy, strings.NewReader(caddyfile(caddy, app)), path, "run", "--adapter", "caddyfile", "--config", "-")
	if err != nil {
		return nil, err
	}
	defer stop()
	row, err = proxies(ctx, r, "Proxy/Caddy", name, ours, caddy)
	if err != nil {
		return nil, err
	}
	return append(rows, row.AtLeast(1.05, row.Ratio.Value, "at least 1.05 times the peer")), nil
}

// start starts the program of command at a new address.
func start(ctx context.Context, dir string, command func(at servers.Addr) []string) (at servers.Addr, stop func(), err error) {
	if at, err = servers.New(ctx, "tcp", dir); err != nil {
		return at, nil, err
	}
	args := command(at)
	stop, err = servers.Start(ctx, at, nil, args[0], args[1:]...)
	return at, stop, err
}

// proxies compares two proxies in one row.
func proxies(ctx context.Context, r *report.Run, group, peer string, ours, theirs servers.Addr) (report.Row, error) {
	speed, _, err := compare(ctx, r, group, [2]servers.Addr{ours, theirs})
	if err != nil {
		return report.Row{}, fmt.Errorf("%s: %w", group, err)
	}
	return throughput("to an app", speed, peer), nil
}

// caddyfile returns a configuration that forwards requests with the token to app. The site has no
// host, because Caddy answers requests for every other host with an empty 200.
func caddyfile(at, app servers.Addr) string {
	host, port, _ := net.SplitHostPort(at.Address)
	return fmt.Sprintf(`{
	admin off
	auto_https off
}
http://:%s {
	bind %s
	@good header %s %s
	handle @good {
		reverse_proxy %s
	}
	respond 401
}
`, port, host, work.Header, work.Token(0), app.Address)
}
