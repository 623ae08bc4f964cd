package sections

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/rawload"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// outside is the length of a turn that sends requests to other processes. It is long
// enough for a p99 of its own.
const outside = 400 * time.Millisecond

// inFlight is the number of concurrent connections or calls.
const inFlight = 16

// forward compares tokenagent behind nginx's auth_request with a net/http server that
// answers 200 to every request. Each runs in its own process, on the same kind of
// socket, behind an nginx with the same configuration.
func forward(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, p, err := programs(ctx, r)
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for _, network := range []string{"unix", "tcp"} {
		f, err := newForward(ctx, p, network, dir)
		if err != nil {
			return nil, err
		}
		more, err := f.rows(ctx, r, network, dir)
		f.stop()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", network, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// A pair is tokenagent and the bare server. Beside them, alike is a bare server with
// the same deadlines and header as tokenagent.
type pair struct {
	addr  [2]servers.Addr
	alike servers.Addr
	ends  []func()
}

func (f *pair) stop() {
	for _, end := range f.ends {
		end()
	}
}

func newForward(ctx context.Context, programs servers.Programs, network, dir string) (*pair, error) {
	f := new(pair)
	token, err := work.WriteTokens(dir, 1)
	if err != nil {
		return nil, err
	}
	for _, addr := range []*servers.Addr{&f.addr[0], &f.addr[1], &f.alike} {
		if *addr, err = servers.New(ctx, network, dir); err != nil {
			return nil, err
		}
	}
	for _, c := range []struct {
		addr servers.Addr
		args []string
	}{
		{f.addr[0], []string{programs.Tokenagent, "run", "--token-file", token, "--listen", f.addr[0].Flag(), "--admin-listen", ""}},
		{f.addr[1], []string{programs.Bare, "http", f.addr[1].Flag()}},
		{f.alike, []string{programs.Bare, "alike", f.alike.Flag()}},
	} {
		end, err := servers.Start(ctx, c.addr, nil, c.args[0], c.args[1:]...)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.ends = append(f.ends, end)
	}
	return f, nil
}

func (f *pair) rows(ctx context.Context, r *report.Run, network, dir string) ([]report.Row, error) {
	var rows []report.Row
	if !servers.HaveNginx() {
		rows = append(rows, report.Row{What: "through nginx", PeerName: "bare net/http", Missed: "nginx is not installed"})
	} else {
		for _, app := range []bool{false, true} {
			what := "through nginx, which answers itself, " + network
			if app {
				what = "through nginx to an app, " + network
			}
			more, err := f.behindNginx(ctx, r, app, dir, what)
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
		}
	}
	for _, c := range []struct {
		group, name string
		other       servers.Addr
	}{
		{"Forward/", "bare net/http", f.addr[1]},
		{"ForwardAlike/", "net/http with the same deadlines and header", f.alike},
	} {
		speed, _, err := compare(ctx, r, c.group+network, [2]servers.Addr{f.addr[0], c.other})
		if err != nil {
			return nil, err
		}
		rows = append(rows, throughput("asked directly, "+network, speed, c.name))
	}
	return rows, nil
}

func (f *pair) behindNginx(ctx context.Context, r *report.Run, app bool, dir, what string) ([]report.Row, error) {
	var at [2]servers.Addr
	for i := range at {
		where, stop, err := servers.Before(ctx, f.addr[i], app, dir)
		if err != nil {
			return nil, err
		}
		defer stop()
		at[i] = where
	}
	group := "Nginx/" + f.addr[0].Network
	if app {
		group = "NginxApp/" + f.addr[0].Network
	}
	speed, tail, err := compare(ctx, r, group, at)
	if err != nil {
		return nil, err
	}
	row := throughput(what, speed, "bare net/http")
	kept := row.Ratio.Value
	slowest := beside(what+", p99", tail[0], tail[1], "bare net/http")
	return []report.Row{row.AtLeast(0.95, kept, "at least 95% of the peer"), slowest.AtMostOfPeer(1.1)}, nil
}

// compare sends requests to both servers in turns, over the same number of connections.
// It returns the time per answer, and the p99 of the latency.
func compare(ctx context.Context, r *report.Run, group string, at [2]servers.Addr) (speed, tail [2]measure.Series, err error) {
	var clients [2]*rawload.Client
	var request []byte
	for i, name := range []string{"ours", "bare"} {
		if clients[i], err = rawload.Open(at[i].Network, at[i].Address, inFlight); err != nil {
			return speed, tail, err
		}
		defer clients[i].Close()
		speed[i].Name, tail[i].Name = name, name+"-p99"
	}
	request = fmt.Appendf(nil, "GET /orders/17?expand=lines HTTP/1.1\r\nHost: orders.example\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n%s: %s\r\n\r\n", work.Header, work.Token(0))
	n, err := fits(ctx, r, clients[1], request)
	if err != nil {
		return speed, tail, err
	}
	for round := range r.Rounds + 1 {
		for k := range clients {
			i := (round + k) % len(clients)
			t, err := clients[i].Run(ctx, request, http.StatusOK, n)
			if err == nil && t.Wrong > 0 {
				err = fmt.Errorf("%s: %d of %d answers are not 200", speed[i].Name, t.Wrong, n)
			}
			if err != nil {
				return speed, tail, err
			}
			if round == 0 {
				continue // the first round warms up
			}
			speed[i].N, tail[i].N = n, n
			speed[i].NS = append(speed[i].NS, float64(t.Took)/float64(n))
			tail[i].NS = append(tail[i].NS, float64(t.Quantile(0.99)))
		}
	}
	r.Keep(group, speed[0], speed[1], tail[0], tail[1])
	return speed, tail, nil
}

// fits returns how many requests fit into a turn.
func fits(ctx context.Context, r *report.Run, c *rawload.Client, request []byte) (int, error) {
	if r.Quick {
		return 100, nil
	}
	t, err := c.Run(ctx, request, http.StatusOK, 2000)
	return int(t.PerSecond() * outside.Seconds()), err
}

// throughput returns a row of answers per second, from the times per answer.
func throughput(what string, speed [2]measure.Series, peer string) report.Row {
	perSecond := func(s measure.Series) measure.Estimate {
		e := s.Median()
		return measure.Estimate{Value: 1e9 / e.Value, Low: 1e9 / e.High, High: 1e9 / e.Low}
	}
	return report.Row{
		What: what, Unit: report.PerSecond, Ours: perSecond(speed[0]), PeerName: peer, Peer: perSecond(speed[1]),
		Ratio: speed[1].Ratio(speed[0]), // the ratio of throughputs is the inverse ratio of times
	}
}
