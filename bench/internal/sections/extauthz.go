package sections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// extAuthz compares tokenagent's Check over gRPC with a grpc-go server that gives the
// same answer to every call. Each runs in its own process.
func extAuthz(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, p, err := programs(ctx, r)
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for _, network := range []string{"unix", "tcp"} {
		row, err := extAuthzOn(ctx, r, p, network, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", network, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func extAuthzOn(ctx context.Context, r *report.Run, p servers.Programs, network, dir string) (row report.Row, err error) {
	token, err := work.WriteTokens(dir, 1)
	if err != nil {
		return row, err
	}
	forward, err := servers.New(ctx, "unix", dir) // the run needs --listen, but gets no requests there
	if err != nil {
		return row, err
	}
	request := envoyAsks()
	var answer []byte
	var calls [2]func(n int) error
	for i, name := range []string{"ours", "bare"} {
		addr, err := servers.New(ctx, network, dir)
		if err != nil {
			return row, err
		}
		var stdin io.Reader
		args := []string{p.Tokenagent, "run", "--token-file", token, "--listen", forward.Flag(), "--grpc-listen", addr.Flag(), "--admin-listen", ""}
		if i == 1 {
			stdin, args = bytes.NewReader(answer), []string{p.Bare, "grpc", addr.Flag()}
		}
		stop, err := servers.Start(ctx, addr, stdin, args[0], args[1:]...)
		if err != nil {
			return row, err
		}
		defer stop()
		conn, err := grpc.NewClient(addr.Flag(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return row, err
		}
		defer conn.Close()
		client := authv3.NewAuthorizationClient(conn)
		got, err := client.Check(ctx, request)
		if err == nil && got.GetOkResponse() == nil {
			err = errors.New("refuses")
		}
		if err == nil && i == 0 {
			answer, err = proto.Marshal(got)
		}
		if err != nil {
			return row, fmt.Errorf("%s: %w", name, err)
		}
		calls[i] = func(n int) error { return callsAtOnce(ctx, client, request, n) }
	}
	speed, err := callsByTurns(ctx, r, calls)
	if err != nil {
		return row, err
	}
	r.Keep("ExtAuthz/"+network, speed[:]...)
	row = throughput(fmt.Sprintf("%d concurrent calls, %s", inFlight, network), speed, "bare grpc-go")
	return row.AtLeast(0.9, row.Ratio.Value, "at least 90% of the peer"), nil
}

// envoyAsks returns what Envoy sends for an ordinary request.
func envoyAsks() *authv3.CheckRequest {
	h := map[string]string{
		":authority": "orders.example", ":path": "/orders/17?expand=lines", ":method": "POST", ":scheme": "http",
		"user-agent": "curl/8.0", "accept": "*/*", "content-type": "application/json", "content-length": "512",
		"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "http", "x-request-id": "8d2e3c0e-5a90-4c44-8a3f-0f6d4b3e7a11",
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", work.Key: work.Token(0),
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "POST", Path: "/orders/17?expand=lines", Headers: h},
	}}}
}

// callsByTurns measures both in turns, as compare does.
func callsByTurns(ctx context.Context, r *report.Run, calls [2]func(n int) error) (speed [2]measure.Series, err error) {
	speed[0].Name, speed[1].Name = "ours", "bare"
	n := 200
	if !r.Quick {
		began := time.Now()
		if err := calls[1](2000); err != nil {
			return speed, err
		}
		n = int(2000 * outside / time.Since(began))
	}
	for round := range r.Rounds + 1 {
		for k := range calls {
			i := (round + k) % len(calls)
			began := time.Now()
			if err := calls[i](n); err != nil {
				return speed, fmt.Errorf("%s: %w", speed[i].Name, err)
			}
			if took := time.Since(began); round > 0 {
				speed[i].N, speed[i].NS = n, append(speed[i].NS, float64(took)/float64(n))
			}
		}
		if err := ctx.Err(); err != nil {
			return speed, err
		}
	}
	return speed, nil
}

// callsAtOnce makes n calls over one connection, inFlight of them at a time, as a worker
// of Envoy does.
func callsAtOnce(ctx context.Context, client authv3.AuthorizationClient, request *authv3.CheckRequest, n int) error {
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	errs := make([]error, inFlight)
	for i := range errs {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				got, err := client.Check(ctx, request)
				if err == nil && got.GetStatus().GetCode() != 0 {
					err = errors.New("refuses")
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
