package sections

import (
	"context"
	"fmt"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// signed compares the first check of a signed token and later checks. No peer caches a
// token that it has checked.
func signed(ctx context.Context, r *report.Run) ([]report.Row, error) {
	var rows []report.Row
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		for _, good := range []bool{true, false} {
			some, err := signedBy(ctx, r, algorithm, good)
			if err != nil {
				return nil, err
			}
			rows = append(rows, some...)
		}
	}
	some, err := byIssuers(ctx, r)
	return append(rows, some...), err
}

// byIssuers compares an agent of eight issuers with an agent of one.
func byIssuers(ctx context.Context, r *report.Run) ([]report.Row, error) {
	s, err := work.NewSigner("HS256")
	if err != nil {
		return nil, err
	}
	token, err := s.Sign(1)
	if err != nil {
		return nil, err
	}
	var c comparison
	for name, cache := range map[string]int{"first": -1, "again": 0} {
		for _, others := range []int{0, 7} {
			a, err := jwtAgent(ctx, r, s, cache, others)
			if err != nil {
				return nil, err
			}
			defer a.Close()
			c.add(fmt.Sprintf("%s of %d", name, others+1), true, func() bool { _, err := a.Verify(ctx, token); return err == nil })
		}
	}
	by, err := c.run(ctx, r, "JWT/issuers")
	if err != nil {
		return nil, err
	}
	return []report.Row{
		beside("HS256, 8 issuers, first check", by["first of 8"], by["first of 1"], "tokenagent with 1"),
		beside("HS256, 8 issuers, again", by["again of 8"], by["again of 1"], "tokenagent with 1").AtMostOfPeer(1.1),
	}, nil
}

// firstCheck is the target of a first check by algorithm, as a part of golang-jwt's time.
var firstCheck = map[string]float64{"HS256": 0.9, "RS256": 1, "ES256": 1, "EdDSA": 1} //nolint:gochecknoglobals // a constant

func signedBy(ctx context.Context, r *report.Run, algorithm string, good bool) ([]report.Row, error) {
	s, err := work.NewSigner(algorithm)
	if err != nil {
		return nil, err
	}
	signer := s
	if !good { // a forged token is signed with another key of the same kind
		if signer, err = work.NewSigner(algorithm); err != nil {
			return nil, err
		}
	}
	token, err := signer.Sign(1)
	if err != nil {
		return nil, err
	}
	first, err := jwtAgent(ctx, r, s, -1, 0)
	if err != nil {
		return nil, err
	}
	defer first.Close()
	again, err := jwtAgent(ctx, r, s, 0, 0)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	others, err := peers.JWT(ctx, s)
	if err != nil {
		return nil, err
	}

	var c comparison
	floor := peers.Primitive(s)
	c.add("floor", good, func() bool { return floor(token) == nil })
	c.add("first", good, func() bool { _, err := first.Verify(ctx, token); return err == nil })
	if good {
		known := work.NewFloor(token)
		header := map[string][]string{work.Header: {token}}
		c.add("floor-again", good, func() bool { return known.Check(header) })
		c.add("again", good, func() bool { _, err := again.Verify(ctx, token); return err == nil })
	}
	for _, p := range others {
		c.add(p.Name, good, func() bool { return p.Check(token) == nil })
	}
	by, err := c.run(ctx, r, "JWT/"+algorithm+"/"+verdict(good))
	if err != nil {
		return nil, err
	}

	var rows []report.Row
	what := algorithm + ", " + verdict(good)
	for _, p := range others {
		row := beside(what+", first check", by["first"], by[p.Name], p.Name)
		row.Floor = by["floor"].Median()
		if good && p.Name == "golang-jwt" {
			row = row.AtMostOfPeer(firstCheck[algorithm])
		}
		rows = append(rows, row)
	}
	if good {
		row := beside(what+", again", by["again"], by["golang-jwt"], "golang-jwt")
		row.Floor = by["floor-again"].Median()
		switch algorithm {
		case "HS256":
			row = row.AtMostOfPeer(1. / 50)
		case "ES256":
			row = row.AtMostOfPeer(1. / 300)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func jwtAgent(ctx context.Context, r *report.Run, s work.Signer, cache, others int) (*agent.Agent, error) {
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	jwks, err := s.JWKS()
	if err != nil {
		return nil, err
	}
	return work.JWTAgent(ctx, dir, jwks, cache, others)
}

// cold compares 10,000 different tokens. The first check includes the cost of caching
// the token. The later check finds every token in the cache.
func cold(ctx context.Context, r *report.Run) ([]report.Row, error) {
	r2 := *r                     // each slice is a pass over all tokens, so there are few
	r2.Rounds = min(r.Rounds, 6) // the smallest number that gives bounds for a median
	n := 10_000
	if r.Quick {
		n = 200
	}
	var rows []report.Row
	for _, algorithm := range []string{"HS256", "ES256"} {
		s, err := work.NewSigner(algorithm)
		if err != nil {
			return nil, err
		}
		tokens, err := s.SignAll(n)
		if err != nil {
			return nil, err
		}
		some, err := coldBy(ctx, &r2, s, tokens)
		r.Raw = r2.Raw
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func coldBy(ctx context.Context, r *report.Run, s work.Signer, tokens []string) ([]report.Row, error) {
	others, err := peers.JWT(ctx, s)
	if err != nil {
		return nil, err
	}
	large, err := s.JWTVerifier(4 * len(tokens))
	if err != nil {
		return nil, err
	}
	pass := func(check func(string) error) func(int) {
		return func(n int) {
			for _, token := range tokens[:n] {
				if err := check(token); err != nil {
					panic(err)
				}
			}
		}
	}
	var c comparison
	each := func(name string, run func(int)) {
		c.ops = append(c.ops, measure.Op{Name: name, N: len(tokens), Run: run})
	}
	floor := peers.Primitive(s)
	each("floor", pass(floor))
	each("first", func(n int) {
		v, err := s.JWTVerifier(4 * len(tokens))
		if err != nil {
			panic(err)
		}
		pass(func(token string) error { _, err := v.Verify(ctx, token); return err })(n)
	})
	again := pass(func(token string) error { _, err := large.Verify(ctx, token); return err })
	again(len(tokens))
	each("again", again)
	for _, p := range others {
		each(p.Name, pass(p.Check))
	}
	by, err := c.run(ctx, r, "Cold/"+s.Algorithm)
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for _, p := range others {
		row := beside(s.Algorithm+", first check and caching", by["first"], by[p.Name], p.Name)
		row.Floor = by["floor"].Median()
		if s.Algorithm == "HS256" && p.Name == "golang-jwt" {
			row = row.AtMostOfPeer(1)
		}
		rows = append(rows, row)
	}
	return append(rows, beside(s.Algorithm+", again, all cached", by["again"], by["golang-jwt"], "golang-jwt")), nil
}
