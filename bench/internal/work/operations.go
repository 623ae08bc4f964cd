package work

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// An Operation is something that a request makes tokenagent do.
type Operation struct {
	Name string
	N    int    // how often the guard runs it in one count of instructions
	Do   func() // panics if the decision is wrong
}

// Operations holds all operations and their agents.
type Operations struct {
	All    []Operation
	agents []*agent.Agent
}

// NewOperations starts the agents of the operations, with files in dir. The caller calls
// Close, also after an error.
func NewOperations(ctx context.Context, dir string) (*Operations, error) {
	o := new(Operations)
	return o, errors.Join(o.tokens(ctx, dir), o.clients(ctx, dir), o.requests(ctx, dir), o.signed(ctx, dir))
}

// Close closes the agents.
func (o *Operations) Close() error {
	var errs []error
	for _, a := range o.agents {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}

func (o *Operations) add(name string, n int, want bool, check func() bool) {
	o.All = append(o.All, Operation{Name: name, N: n, Do: func() {
		if check() != want {
			panic(name + ": the decision is wrong")
		}
	}})
}

func (o *Operations) agent(ctx context.Context, dir string, n int) (*agent.Agent, error) {
	a, err := Agent(ctx, dir, n)
	if err == nil {
		o.agents = append(o.agents, a)
	}
	return a, err
}

func (o *Operations) tokens(ctx context.Context, dir string) error {
	for _, n := range []int{1, 2, 100, 10_000} {
		a, err := o.agent(ctx, dir, n)
		if err != nil {
			return err
		}
		known := Cycle[string]{All: Tokens(n)}
		o.add(fmt.Sprintf("verify, %d accepted", n), 500, true, func() bool {
			_, err := a.Verify(ctx, known.Next())
			return err == nil
		})
		unknown := Cycle[string]{All: Tokens(n + 500)[n:]}
		o.add(fmt.Sprintf("refuse, %d accepted", n), 500, false, func() bool {
			_, err := a.Verify(ctx, unknown.Next())
			return err == nil
		})
	}
	return nil
}

func (o *Operations) clients(ctx context.Context, dir string) error {
	for _, n := range []int{1, 10_000} {
		a, err := ClientAgent(ctx, dir, n)
		if err != nil {
			return err
		}
		o.agents = append(o.agents, a)
		known := Cycle[string]{All: Tokens(n)}
		o.add(fmt.Sprintf("verify, clients: %d", n), 500, true, func() bool {
			_, err := a.Verify(ctx, known.Next())
			return err == nil
		})
	}
	return nil
}

func (o *Operations) requests(ctx context.Context, dir string) error {
	a, err := o.agent(ctx, dir, 1)
	if err != nil {
		return err
	}
	serve := func(h http.Handler, token string) func() bool {
		request, response, values := Request(), NewResponse(), []string{token}
		return func() bool {
			response.Status = http.StatusOK
			request.Header[Header] = values
			h.ServeHTTP(response, request)
			return response.Status == http.StatusOK
		}
	}
	end := http.HandlerFunc(Accept)
	with, without := httpauth.Middleware(a, httpauth.Options{}), httpauth.Middleware(a, httpauth.Options{WithoutPrincipal: true})
	o.add("HTTP, without Principal", 500, true, serve(without(end), Token(0)))
	o.add("HTTP, Principal", 500, true, serve(with(end), Token(0)))
	o.add("HTTP, Principal, InPlace", 500, true, serve(httpauth.Middleware(a, httpauth.Options{InPlace: true})(end), Token(0)))
	o.add("HTTP, refused", 500, false, serve(with(end), Token(1)))

	for _, token := range []string{Token(0), Token(1)} {
		call, err := Incoming(ctx, token)
		if err != nil {
			return err
		}
		info := Info()
		ask := func(opts grpcauth.Options) func() bool {
			intercept := grpcauth.UnaryServerInterceptor(a, opts)
			return func() bool { _, err := intercept(call, nil, info, Handle); return err == nil }
		}
		if token == Token(0) {
			o.add("gRPC, without Principal", 500, true, ask(grpcauth.Options{WithoutPrincipal: true}))
			o.add("gRPC, Principal", 500, true, ask(grpcauth.Options{}))
		} else {
			o.add("gRPC, refused", 500, false, ask(grpcauth.Options{}))
		}
	}
	return nil
}

func (o *Operations) signed(ctx context.Context, dir string) error {
	for _, c := range []struct {
		name, algorithm string
		first, others   int
	}{{"HS256", "HS256", 50, 0}, {"HS256, 8 issuers", "HS256", 50, 7}, {"RS256", "RS256", 10, 0}, {"ES256", "ES256", 10, 0}, {"EdDSA", "EdDSA", 10, 0}} {
		s, err := NewSigner(c.algorithm)
		if err != nil {
			return err
		}
		token, err := s.Sign(1)
		if err != nil {
			return err
		}
		jwks, err := s.JWKS()
		if err != nil {
			return err
		}
		for _, way := range []struct {
			name     string
			cache, n int
		}{{"first check", -1, c.first}, {"again", 0, 500}} {
			own, err := os.MkdirTemp(dir, "")
			if err != nil {
				return err
			}
			a, err := JWTAgent(ctx, own, jwks, way.cache, c.others)
			if err != nil {
				return err
			}
			o.agents = append(o.agents, a)
			o.add(c.name+", "+way.name, way.n, true, func() bool { _, err := a.Verify(ctx, token); return err == nil })
		}
	}
	return nil
}
