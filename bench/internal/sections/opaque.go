package sections

import (
	"context"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// opaque compares the decision about a request's headers, for several numbers of
// accepted tokens. The accepted tokens take turns.
func opaque(ctx context.Context, r *report.Run) ([]report.Row, error) {
	var rows []report.Row
	for _, n := range []int{1, 2, 100, 1_000, 10_000} {
		for _, good := range []bool{true, false} {
			by, err := opaqueOf(ctx, r, n, good)
			if err != nil {
				return nil, err
			}
			ours, floor := by["ours"], by["floor"].Median()
			what := fmt.Sprintf("tokens: %d, %s", n, verdict(good))
			row := beside(what, ours, by["otel"], "OTel")
			row.Floor = floor
			switch {
			case n <= 2:
				row = row.AtMostOfPeer(1. / 2)
			case n <= 1000:
				row = row.AtMostOfPeer(1. / 50)
			}
			rows = append(rows, row)
			if n == 1 {
				row := beside(what, ours, by["dapr"], "Dapr go-sdk's comparison alone")
				row.Floor = floor
				rows = append(rows, row)
			}
			rows = append(rows, report.Row{What: what + ", Agent.Verify alone", Ours: by["verify"].Median(), Floor: floor})
			if named, ok := by["clients"]; ok {
				rows = append(rows, report.Row{What: what + ", Agent.Verify alone, each token with a client's name; the floor is that without names", Ours: named.Median(), Floor: by["verify"].Median()})
			}
			if each, ok := by["floor-each"]; ok {
				rows = append(rows, report.Row{What: what + ", Agent.Verify alone; the floor compares each token with its own copy", Ours: by["verify"].Median(), Floor: each.Median()})
			}
		}
	}
	return rows, nil
}

// opaqueOf measures all candidates for n accepted tokens.
func opaqueOf(ctx context.Context, r *report.Run, n int, good bool) (map[string]measure.Series, error) {
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

	present := work.Tokens(n)
	if !good {
		present = []string{work.Token(n)}
	}
	request := work.Request()
	values := []string{present[0]}
	request.Header[work.Header] = values
	// next returns a function that puts the next token into the request. Each candidate
	// has its own.
	next := func() func() {
		cycle := work.Cycle[string]{All: present}
		return func() { values[0] = cycle.Next() }
	}
	var c comparison
	floor := work.NewFloor(work.Token(0))
	c.add("floor", good, func() bool { values[0] = present[0]; return floor.Check(request.Header) })
	g, putOurs := httpauth.New(a, httpauth.Options{KeepHeader: true}), next() // because the request is used again
	c.add("ours", good, func() bool { putOurs(); _, err := g.Authenticate(request); return err == nil })
	putOTel := next()
	c.add("otel", good, func() bool { putOTel(); _, err := o.Authenticate(ctx, request.Header); return err == nil })
	if n == 1 {
		putDapr, token := next(), work.Token(0)
		c.add("dapr", good, func() bool { putDapr(); return peers.DaprCheck(request.Header, token) })
	}
	if good && n > 2 {
		// This floor compares each token with its own copy, without a lookup. Its cost is
		// mostly waiting for memory.
		pairs := work.Cycle[[2]string]{}
		for _, token := range present {
			pairs.All = append(pairs.All, [2]string{token, strings.Clone(token)})
		}
		c.add("floor-each", true, func() bool { p := pairs.Next(); return work.Equal(p[0], p[1]) })
	}
	cycle := work.Cycle[string]{All: present}
	c.add("verify", good, func() bool { _, err := a.Verify(ctx, cycle.Next()); return err == nil })
	if good {
		clients, err := work.ClientAgent(ctx, dir, n)
		if err != nil {
			return nil, err
		}
		defer clients.Close()
		cycle := work.Cycle[string]{All: present}
		c.add("clients", true, func() bool { _, err := clients.Verify(ctx, cycle.Next()); return err == nil })
	}
	return c.run(ctx, r, fmt.Sprintf("Opaque/%s/%d", verdict(good), n))
}
