package sections

import (
	"context"
	"crypto/sha256"
	"net/http"
	"runtime"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// parallel compares the throughput of two cores with that of one. The row of SHA-256,
// which shares nothing, shows the most that the machine can reach.
func parallel(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	a, err := work.Agent(ctx, dir, 1)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	clients, err := work.ClientAgent(ctx, dir, 1)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	s, err := work.NewSigner("HS256")
	if err != nil {
		return nil, err
	}
	signed, err := s.Sign(1)
	if err != nil {
		return nil, err
	}
	keys, err := jwtAgent(ctx, r, s, 0, 0)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	call, err := work.Incoming(ctx, work.Token(0))
	if err != nil {
		return nil, err
	}
	token := work.Token(0)
	handle := func(h http.Handler) func() func() bool {
		return func() func() bool {
			request, response, values := work.Request(), work.NewResponse(), []string{token}
			return func() bool {
				request.Header[work.Header] = values
				h.ServeHTTP(response, request)
				return response.Status == http.StatusOK
			}
		}
	}
	serve := func(o httpauth.Options) func() func() bool {
		return handle(httpauth.Middleware(a, o)(http.HandlerFunc(work.Accept)))
	}
	var end http.Handler = http.HandlerFunc(work.Accept) // an interface, so that the copied request is on the heap
	copied := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		end.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), valueKey{}, a)))
	})
	intercept := func(o grpcauth.Options) func() func() bool {
		return func() func() bool {
			info, intercept := work.Info(), grpcauth.UnaryServerInterceptor(a, o)
			return func() bool { _, err := intercept(call, nil, info, work.Handle); return err == nil }
		}
	}
	crew := func(name string, each func() func() bool) measure.Crew {
		return measure.Crew{Name: name, Make: func() (measure.Op, error) { return decision(name, true, each()) }}
	}
	// These operations make garbage.
	principal := crew("HTTP middleware, Principal in the context", serve(httpauth.Options{}))
	inPlace := crew("HTTP middleware, Principal in the context, InPlace", serve(httpauth.Options{InPlace: true}))
	rpc := crew("gRPC interceptor, Principal in the context", intercept(grpcauth.Options{}))
	bare := crew("net/http's WithContext alone", handle(copied))
	crews := []measure.Crew{
		crew("nothing shared (SHA-256)", func() func() bool {
			var block [64]byte
			return func() bool { sum := sha256.Sum256(block[:]); block[0] = sum[0]; return true }
		}),
		crew("Agent.Verify", func() func() bool {
			return func() bool { _, err := a.Verify(ctx, token); return err == nil }
		}),
		crew("Agent.Verify, token of a named client", func() func() bool {
			return func() bool { _, err := clients.Verify(ctx, token); return err == nil }
		}),
		crew("HTTP middleware, without Principal", serve(httpauth.Options{WithoutPrincipal: true})),
		principal,
		inPlace,
		crew("gRPC interceptor", intercept(grpcauth.Options{WithoutPrincipal: true})),
		rpc,
		crew("signed token, again", func() func() bool {
			return func() bool { _, err := keys.Verify(ctx, signed); return err == nil }
		}),
	}
	e := r.Effort.Longer() // because some make garbage, and because wall-clock time varies more
	// The smaller the live heap, the more often Go collects garbage: with almost none, a
	// hundred times a second.
	alive := make([]byte, 64<<20)
	rows, err := gains(ctx, e, append(crews, bare))
	if err != nil {
		return nil, err
	}
	runtime.KeepAlive(alive)
	for i := range crews[1:] {
		rows[1+i] = rows[1+i].AtLeast(1.8, rows[1+i].Ours.Value, "at least 1.8×")
	}
	some := []measure.Crew{principal, inPlace, rpc, bare}
	for i := range some {
		some[i].Name += ", no other live heap"
	}
	more, err := gains(ctx, e, some)
	return append(rows, more...), err
}

// gains measures the crews, and returns a row for each.
func gains(ctx context.Context, e measure.Effort, crews []measure.Crew) ([]report.Row, error) {
	all, err := measure.Scale(ctx, e, crews...)
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for i, c := range crews {
		rows = append(rows, report.Row{What: c.Name, Unit: report.Times, Ours: all[i].Gain()})
	}
	return rows, nil
}
