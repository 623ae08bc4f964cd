package sections

import (
	"context"
	"net/http"

	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// middleware compares handlers that check the token first. None of them reads the
// request from a connection.
func middleware(ctx context.Context, r *report.Run) ([]report.Row, error) {
	var rows []report.Row
	for _, good := range []bool{true, false} {
		some, err := middlewareOf(ctx, r, good)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

type valueKey struct{}

func middlewareOf(ctx context.Context, r *report.Run, good bool) ([]report.Row, error) {
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	a, err := work.Agent(ctx, dir, 1)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	o, err := peers.OTelOf(ctx, dir, 1)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	dapr, err := peers.Dapr(work.Token(0))
	if err != nil {
		return nil, err
	}
	open, err := peers.Dapr("")
	if err != nil {
		return nil, err
	}

	request, response, values := work.Request(), work.NewResponse(), []string{work.Token(0)}
	if !good {
		values[0] = work.Token(1)
	}
	var end http.Handler = http.HandlerFunc(work.Accept)
	// serve puts the token back, which tokenagent removes, and calls h.
	serve := func(h http.Handler) func() bool {
		return func() bool {
			response.Status = http.StatusOK
			request.Header[work.Header] = values
			h.ServeHTTP(response, request)
			return response.Status == http.StatusOK
		}
	}
	floor := work.NewFloor(work.Token(0))
	checked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !floor.Check(r.Header) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		end.ServeHTTP(w, r)
	})
	stripped := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !floor.Check(r.Header) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		delete(r.Header, work.Header)
		end.ServeHTTP(w, r)
	})
	valued := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !floor.Check(r.Header) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		delete(r.Header, work.Header)
		end.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), valueKey{}, floor)))
	})
	// The collector's confighttp does the same around the extension.
	collector := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := o.Authenticate(r.Context(), r.Header)
		if err != nil {
			http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
			return
		}
		end.ServeHTTP(w, r.WithContext(ctx))
	})

	c := comparison{longer: true}
	c.add("floor", good, serve(checked))
	c.add("floor-removing", good, serve(stripped))
	c.add("floor-value", good, serve(valued))
	c.add("ours", good, serve(httpauth.Middleware(a, httpauth.Options{WithoutPrincipal: true})(end)))
	c.add("ours-principal", good, serve(httpauth.Middleware(a, httpauth.Options{})(end)))
	c.add("ours-in-place", good, serve(httpauth.Middleware(a, httpauth.Options{InPlace: true})(end)))
	c.add("otel", good, serve(collector))
	c.add("dapr", good, serve(dapr))
	c.add("dapr-open", true, serve(open))
	by, err := c.run(ctx, r, "HTTP/"+verdict(good))
	if err != nil {
		return nil, err
	}
	what := verdict(good)
	base := by["floor"].Median()
	plain := beside(what+", without Principal", by["ours"], by["otel"], "OTel in a handler")
	plain.Floor = base
	with := beside(what+", Principal in the context", by["ours-principal"], by["otel"], "OTel in a handler")
	with.Floor = base
	inPlace := beside(what+", Principal in the context, InPlace", by["ours-in-place"], by["otel"], "OTel in a handler")
	inPlace.Floor = base
	if good {
		plain = plain.AtMostFloor(2, by["ours"].Ratio(by["floor"]))
		with = with.AtMostFloor(3, by["ours-principal"].Ratio(by["floor"]))
		inPlace = inPlace.AtMostFloor(3, by["ours-in-place"].Ratio(by["floor"]))
	}
	rows := []report.Row{plain, with, inPlace}
	if good {
		rows = append(rows,
			report.Row{What: "accepted, without Principal, against a floor that also removes the token", Ours: by["ours"].Median(), Floor: by["floor-removing"].Median()}.
				AtMostFloor(2, by["ours"].Ratio(by["floor-removing"])),
			report.Row{What: "accepted, Principal in the context, against a floor that also puts a value there", Ours: by["ours-principal"].Median(), Floor: by["floor-value"].Median()}.
				AtMostFloor(2, by["ours-principal"].Ratio(by["floor-value"])),
			report.Row{What: "accepted, without Principal", Ours: by["ours"].Median(), PeerName: "Dapr go-sdk's service, with a token minus without", Peer: by["dapr"].Minus(by["dapr-open"]), Floor: base})
		return rows, nil
	}
	return append(rows, beside("refused", by["ours"], by["dapr"], "Dapr go-sdk's service (answers 203)")), nil
}
