package sections

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/rawload"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/servers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

const (
	// forgers is the number of connections that send forged tokens, each as soon as the
	// previous one is answered.
	forgers = 64
	// goodConns is the number of connections that send good tokens that the server
	// already knows, for each kind.
	goodConns = 4
	// newPerSecond is the number of good tokens per second that the server has not seen.
	newPerSecond = 200
)

// flood compares the latency of good requests while 64 connections send forged tokens
// with the latency while none do. The two alternate. flood also counts the new good
// tokens that are refused during the flood.
func flood(ctx context.Context, r *report.Run) ([]report.Row, error) {
	dir, p, err := programs(ctx, r)
	if err != nil {
		return nil, err
	}
	shared, err := work.WriteTokens(dir, 1)
	if err != nil {
		return nil, err
	}
	forgery, err := work.NewForgery(dir)
	if err != nil {
		return nil, err
	}
	addr, err := servers.New(ctx, "tcp", dir)
	if err != nil {
		return nil, err
	}
	stop, err := servers.Start(ctx, addr, nil, p.Tokenagent, "run", "--token-file", shared, "--key-file", forgery.Path,
		"--issuer", work.Issuer, "--audience", work.Audience, "--listen", addr.Flag(), "--admin-listen", "")
	if err != nil {
		return nil, err
	}
	defer stop()
	var rows []report.Row
	for _, c := range []struct {
		name  string
		token func() (string, error)
	}{
		{"no kid, 8 keys of RSA 4096", forgery.Nameless},
		{"ES512 by kid", forgery.Slow},
	} {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		f := &flooding{at: addr, forged: bearer(token), forgery: forgery}
		some, err := f.rows(ctx, r, c.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func bearer(token string) []byte {
	return fmt.Appendf(nil, "GET /orders/17 HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Bearer %s\r\n\r\n", token)
}

// A flooding is a flood with one kind of forged token.
type flooding struct {
	at      servers.Addr
	forged  []byte
	forgery *work.Forgery
}

// kinds are the good requests, in the order of rows.
var kinds = [...]string{"shared", "signed and known", "signed and new"} //nolint:gochecknoglobals // a constant

func (f *flooding) rows(ctx context.Context, r *report.Run, name string) ([]report.Row, error) {
	var quiet, flooded [len(kinds)]measure.Series
	for i := range kinds {
		quiet[i].Name, flooded[i].Name = "quiet-p99", "flooded-p99"
	}
	rounds, turn := 10, time.Second
	if r.Quick {
		rounds, turn = 1, 50*time.Millisecond
	}
	var asked, refused int
	var answered []float64
	for range rounds {
		before, err := f.turn(ctx, turn, false)
		if err != nil {
			return nil, err
		}
		during, err := f.turn(ctx, turn, true)
		if err != nil {
			return nil, err
		}
		for i := range kinds {
			quiet[i].N, flooded[i].N = 1, 1
			quiet[i].NS = append(quiet[i].NS, float64(before.good[i].Quantile(0.99)))
			flooded[i].NS = append(flooded[i].NS, float64(during.good[i].Quantile(0.99)))
		}
		asked += during.good[2].Answers
		refused += during.good[2].Wrong
		answered = append(answered, during.forged)
	}
	var rows []report.Row
	for i, kind := range kinds {
		r.Keep("Flood/"+name+"/"+kind, quiet[i], flooded[i])
		row := beside(name+": "+kind+", p99", flooded[i], quiet[i], "tokenagent without forged tokens")
		if i < 2 {
			row = row.AtMostOfPeer(4)
		}
		rows = append(rows, row)
	}
	lost := report.Row{What: fmt.Sprintf("%s: refused of %d new good tokens, 200 per second", name, asked), Unit: report.Count, Ours: measure.Exactly(float64(refused))}
	forged := report.Row{What: name + ": forged tokens answered per second", Unit: report.PerSecond, Ours: measure.Of(answered)}
	return append(rows, lost.AtMost(0, float64(refused), "none"), forged), nil
}

// A turnout is the result of one turn.
type turnout struct {
	good   [len(kinds)]rawload.Tally
	forged float64 // answers per second
}

// turn sends good tokens for the duration lasting, and forged tokens at the same time
// if flooded.
func (f *flooding) turn(ctx context.Context, lasting time.Duration, flooded bool) (t turnout, err error) {
	known, err := f.forgery.New(2)
	if err != nil {
		return t, err
	}
	fresh, err := f.forgery.New(max(4, int(newPerSecond*lasting.Seconds())))
	if err != nil {
		return t, err
	}
	requests := [][]byte{
		fmt.Appendf(nil, "GET /orders/17 HTTP/1.1\r\nHost: orders.example\r\n%s: %s\r\n\r\n", work.Header, work.Token(0)),
		bearer(known[1]), // this token names its key
	}
	for _, request := range requests { // so that the server knows these tokens
		if _, err := f.askAgain(ctx, request, 0); err != nil {
			return t, err
		}
	}
	var flood sync.WaitGroup
	var errFlood error
	flooding, end := context.WithCancel(ctx)
	defer flood.Wait()
	defer end()
	if flooded {
		flood.Go(func() { t.forged, errFlood = f.forge(flooding) })
		select {
		case <-ctx.Done():
		case <-time.After(lasting / 10): // until all forgers wait for an answer
		}
	}
	var good sync.WaitGroup
	var errs [len(kinds)]error
	for i, request := range requests {
		good.Go(func() { t.good[i], errs[i] = f.askAgain(ctx, request, lasting) })
	}
	good.Go(func() { t.good[2], errs[2] = f.askOnce(ctx, fresh) })
	good.Wait()
	end()
	flood.Wait()
	for i := range 2 {
		if errs[i] == nil && t.good[i].Wrong > 0 {
			errs[i] = fmt.Errorf("%s: %d of %d answers are not 200", kinds[i], t.good[i].Wrong, t.good[i].Answers)
		}
	}
	return t, errors.Join(append(errs[:], errFlood)...)
}

// forge sends the forged token until ctx ends, and returns the answers per second.
func (f *flooding) forge(ctx context.Context) (float64, error) {
	c, err := rawload.Open(f.at.Network, f.at.Address, forgers)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	t, err := c.Run(ctx, f.forged, http.StatusUnauthorized, 1<<20)
	if ctx.Err() != nil {
		err = nil
	}
	return float64(t.Answers) / time.Since(began).Seconds(), err
}

// askAgain repeats the request for the duration lasting, at least 20 times on each
// connection.
func (f *flooding) askAgain(ctx context.Context, request []byte, lasting time.Duration) (all rawload.Tally, err error) {
	c, err := rawload.Open(f.at.Network, f.at.Address, goodConns)
	if err != nil {
		return all, err
	}
	defer c.Close()
	for began := time.Now(); all.Answers == 0 || time.Since(began) < lasting; {
		t, err := c.Run(ctx, request, http.StatusOK, 20*goodConns)
		if err != nil {
			return all, err
		}
		all.Answers, all.Wrong = all.Answers+t.Answers, all.Wrong+t.Wrong
		all.Latency = append(all.Latency, t.Latency...)
	}
	slices.Sort(all.Latency)
	return all, nil
}

// askOnce sends each token once, at a rate of newPerSecond. It does not wait until the
// earlier ones are answered.
func (f *flooding) askOnce(ctx context.Context, tokens []string) (all rawload.Tally, err error) {
	const workers = 50
	var each [workers]rawload.Tally
	var errs [workers]error
	var done sync.WaitGroup
	began := time.Now()
	for w := range workers {
		done.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, f.at.Network, f.at.Address)
			if err != nil {
				errs[w] = err
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for i := w; i < len(tokens) && errs[w] == nil; i += workers {
				select {
				case <-ctx.Done():
					errs[w] = ctx.Err()
					return
				case <-time.After(time.Until(began.Add(time.Duration(i) * time.Second / newPerSecond))):
				}
				asked := time.Now()
				status, err := ask(conn, answers, bearer(tokens[i]))
				errs[w] = err
				each[w].Answers++
				if status != http.StatusOK {
					each[w].Wrong++
				}
				each[w].Latency = append(each[w].Latency, time.Since(asked))
			}
		})
	}
	done.Wait()
	for _, t := range each {
		all.Answers, all.Wrong = all.Answers+t.Answers, all.Wrong+t.Wrong
		all.Latency = append(all.Latency, t.Latency...)
	}
	slices.Sort(all.Latency)
	return all, errors.Join(errs[:]...)
}

// ask sends one request, and returns the status of the answer.
func ask(conn net.Conn, answers *bufio.Reader, request []byte) (status int, err error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	a, err := http.ReadResponse(answers, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, a.Body)
	return a.StatusCode, errors.Join(err, a.Body.Close())
}
