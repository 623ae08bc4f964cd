package sections

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// interceptor compares interceptors with each other and with none. All get the context
// of a real call to a grpc-go server.
func interceptor(ctx context.Context, r *report.Run) ([]report.Row, error) {
	var rows []report.Row
	for _, n := range []int{1, 2, 100, 1_000, 10_000} {
		for _, good := range []bool{true, false} {
			by, err := interceptorOf(ctx, r, n, good)
			if err != nil {
				return nil, err
			}
			what := fmt.Sprintf("tokens: %d, %s", n, verdict(good))
			for _, c := range []struct{ ours, what string }{{"ours", ""}, {"ours-principal", ", Principal in the context"}} {
				more := by[c.ours].Minus(by["none"])
				row := beside(what+c.what, by[c.ours], by["authz"], "grpc-go authz")
				row.Floor = by["none"].Median()
				rows = append(rows, row.AtMost(100, more.Value, fmt.Sprintf("at most 100 ns more than no interceptor (is %.0f)", more.Value)))
			}
			rows = append(rows, beside(what, by["ours"], by["otel"], "OTel in an interceptor"))
		}
	}
	return rows, nil
}

func interceptorOf(ctx context.Context, r *report.Run, n int, good bool) (map[string]measure.Series, error) {
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	a, err := work.Agent(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	o, err := peers.OTelOf(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	policy, err := peers.Authz(work.Tokens(n)...)
	if err != nil {
		return nil, err
	}
	i := n / 2 // in the middle, for peers that search a list
	if !good {
		i = n
	}
	call, err := work.Incoming(ctx, work.Token(i))
	if err != nil {
		return nil, err
	}

	info := work.Info()
	ask := func(intercept grpc.UnaryServerInterceptor) func() bool {
		return func() bool { _, err := intercept(call, nil, info, work.Handle); return err == nil }
	}
	// The collector's configgrpc does the same around the extension.
	collector := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, ok := metadata.FromIncomingContext(ctx)
		if !ok {
			return nil, status.Error(codes.Unauthenticated, "no metadata")
		}
		ctx, err := o.Authenticate(ctx, md)
		if err != nil {
			return nil, status.Error(codes.Unauthenticated, "unauthenticated")
		}
		return next(ctx, req)
	}
	none := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, req)
	}
	c := comparison{longer: true}
	c.add("none", true, ask(none))
	c.add("ours", good, ask(grpcauth.UnaryServerInterceptor(a, grpcauth.Options{WithoutPrincipal: true})))
	c.add("ours-principal", good, ask(grpcauth.UnaryServerInterceptor(a, grpcauth.Options{})))
	c.add("otel", good, ask(collector))
	c.add("authz", good, ask(policy.UnaryInterceptor))
	return c.run(ctx, r, fmt.Sprintf("GRPC/%s/%d", verdict(good), n))
}
