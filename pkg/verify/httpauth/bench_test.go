package httpauth_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A response is a ResponseWriter that keeps only its header map.
type response struct{ header http.Header }

func (w *response) Header() http.Header         { return w.header }
func (w *response) Write(b []byte) (int, error) { return len(b), nil }
func (w *response) WriteHeader(int)             {}

type nothing struct{}

func (nothing) ServeHTTP(http.ResponseWriter, *http.Request) {}

func yes(context.Context, string) (*verify.Principal, error) { return current, nil }

func request() *http.Request {
	r := get("/v1.0/invoke", "User-Agent", "x", "Accept", "*/*", "Traceparent", "00-0-0-00", "Content-Length", "0")
	r.Header["Content-Type"] = []string{"application/json"}
	return r
}

// BenchmarkFloor is the minimum cost of any middleware: it restores the header for the
// next round, looks it up, verifies it, removes it and calls the handler.
func BenchmarkFloor(b *testing.B) {
	r, values := request(), []string{good}
	var v verify.Verifier = verify.VerifierFunc(yes)
	var next http.Handler = nothing{}
	w := &response{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Dapr-Api-Token"] = values
		if vs := r.Header["Dapr-Api-Token"]; len(vs) == 1 {
			if _, err := v.Verify(r.Context(), vs[0]); err == nil {
				delete(r.Header, "Dapr-Api-Token")
				next.ServeHTTP(w, r)
			}
		}
	}
}

// BenchmarkAuthenticate measures the decision alone.
func BenchmarkAuthenticate(b *testing.B) {
	g, r := httpauth.New(verify.VerifierFunc(yes), httpauth.Options{}), request()
	values := []string{good}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Dapr-Api-Token"] = values
		if _, err := g.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMiddleware(b *testing.B) {
	for _, c := range []struct {
		name, key, value string
		o                httpauth.Options
	}{
		{"Principal", "Dapr-Api-Token", good, httpauth.Options{}},
		{"Principal/InPlace", "Dapr-Api-Token", good, httpauth.Options{InPlace: true}},
		{"WithoutPrincipal", "Dapr-Api-Token", good, httpauth.Options{WithoutPrincipal: true}},
		{"WithoutPrincipal/Bearer", "Authorization", "Bearer " + good, httpauth.Options{WithoutPrincipal: true}},
		{"WithoutPrincipal/Exemptions", "Dapr-Api-Token", good, httpauth.Options{WithoutPrincipal: true, Exempt: []string{"/healthz", "/readyz"}}},
		{"Exempt", "X-Other", "x", httpauth.Options{Exempt: []string{"/v1.0/invoke"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := httpauth.Middleware(verify.VerifierFunc(yes), c.o)(nothing{})
			w, r, values := &response{http.Header{}}, request(), []string{c.value}
			b.ReportAllocs()
			for b.Loop() {
				r.Header[c.key] = values
				h.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkRefuse(b *testing.B) {
	g := httpauth.New(verify.VerifierFunc(yes), httpauth.Options{})
	for _, c := range []struct {
		name string
		r    *http.Request
		err  error
	}{
		{"Invalid", get("/"), verify.ErrInvalidToken},
		{"Unavailable", get("/"), verify.ErrUnavailable},
		{"GRPC", grpcRequest("/a.B/C"), verify.ErrInvalidToken},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := &response{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				g.Refuse(w, c.r, c.err)
			}
		})
	}
	// http.Error, for comparison.
	b.Run("HTTPError", func(b *testing.B) {
		w := &response{http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			w.header.Set("WWW-Authenticate", challenge)
			http.Error(w, "missing or invalid token", http.StatusUnauthorized)
		}
	})
}

// TestAllocations fails if a request allocates more than the benchmarks show today.
func TestAllocations(t *testing.T) {
	w, values := &response{http.Header{}}, []string{good}
	for name, c := range map[string]struct {
		v    verify.Verifier
		o    httpauth.Options
		want float64
	}{
		"with the Principal":    {verify.VerifierFunc(yes), httpauth.Options{}, 2},
		"in place":              {verify.VerifierFunc(yes), httpauth.Options{InPlace: true}, 1},
		"without the Principal": {verify.VerifierFunc(yes), httpauth.Options{WithoutPrincipal: true, Exempt: []string{"/open"}}, 0},
		"refused": {verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
			return nil, verify.ErrExpiredToken
		}), httpauth.Options{}, 0},
	} {
		h, r := httpauth.Middleware(c.v, c.o)(nothing{}), request()
		if got := testing.AllocsPerRun(100, func() {
			r.Header["Dapr-Api-Token"] = values
			h.ServeHTTP(w, r)
		}); got != c.want {
			t.Errorf("%s: %v allocations, want %v", name, got, c.want)
		}
	}
}
