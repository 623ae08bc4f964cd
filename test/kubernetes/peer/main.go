// Command peer is the other side of the agent in the tests on Kubernetes: the
// app behind a sidecar, the sender of requests, and the one that asks once with
// a token that it is given. It comes in an image of its own, since the nodes of
// a test cluster may reach no registry.
//
//	peer serve 127.0.0.1:3000                        an app, healthy at /healthz
//	peer send DIR unix:///run/agent.sock             the token in DIR, again and again
//	peer ask http://10.0.0.1:9465/ <token            once; prints the status
//	peer ask grpc://10.0.0.1:9466 <token             the same, as Envoy's ext_authz
//	peer kill tokenagent                             the program of another container of the pod
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	header = "Dapr-Api-Token"
	pause  = 10 * time.Millisecond // between two requests of a sender
	limit  = 5 * time.Second       // of one request
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "peer: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(ctx, args[1])
	case len(args) == 3 && args[0] == "send":
		return send(ctx, args[1], args[2], stdout)
	case len(args) == 2 && args[0] == "ask":
		return ask(ctx, args[1], stdin, stdout)
	case len(args) == 2 && args[0] == "kill":
		return kill(args[1])
	default:
		return errors.New("serve ADDR, send DIR TARGET, ask TARGET or kill NAME")
	}
}

// kill ends every process of this name that the pod shares with its containers, as
// the kernel does that is out of memory.
func kill(name string) error {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	killed := false
	for _, path := range comms {
		comm, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue // it has ended, or is another one
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		if err := process.Kill(); err != nil {
			return err
		}
		killed = true
	}
	if !killed {
		return fmt.Errorf("no process is called %s", name)
	}
	return nil
}

// serve is an app that fails where the token of the sender reaches it.
func serve(ctx context.Context, addr string) error {
	s := http.Server{
		ReadHeaderTimeout: limit,
		Addr:              addr,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(header) != "" {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, "app\n")
		}),
	}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	return s.ListenAndServe()
}

// send asks target with the key `token` of the folder dir, read anew for each
// request as a good sender does. It prints the tally, and the fingerprint of the
// token, where that or the answer changed and at every hundredth request.
func send(ctx context.Context, dir, target string, stdout io.Writer) error {
	t, err := connect(target)
	if err != nil {
		return err
	}
	var good, refused, failed int
	var last string
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		token, err := os.ReadFile(filepath.Join(dir, "token")) //nolint:gosec // the test names it
		if err != nil {
			return err
		}
		status, err := t.ask(ctx, token)
		sum := sha256.Sum256(bytes.TrimSpace(token))
		answer := fmt.Sprintf("%d token=%x", status, sum[:4])
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failed, answer = failed+1, "failed: "+err.Error()
		case status == http.StatusOK:
			good++
		default:
			refused++
		}
		if answer != last || (good+refused+failed)%100 == 0 {
			last = answer
			_, _ = fmt.Fprintf(stdout, "good=%d refused=%d failed=%d last=%s\n", good, refused, failed, answer)
		}
	}
}

func ask(ctx context.Context, target string, stdin io.Reader, stdout io.Writer) error {
	token, err := io.ReadAll(io.LimitReader(stdin, 1<<16))
	if err != nil {
		return err
	}
	t, err := connect(target)
	if err != nil {
		return err
	}
	status, err := t.ask(ctx, token)
	if err == nil {
		_, err = fmt.Fprintln(stdout, status)
	}
	return err
}

// A target is whom to ask: http://host:port/path, unix:///path or grpc://host:port.
type target interface {
	ask(ctx context.Context, token []byte) (status int, err error)
}

func connect(to string) (target, error) {
	if addr, ok := strings.CutPrefix(to, "grpc://"); ok {
		return dialAuthz(addr)
	}
	t := &web{url: to, client: http.Client{Timeout: limit}}
	if path, unix := strings.CutPrefix(to, "unix://"); unix {
		t.url = "http://agent/"
		t.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}
	}
	return t, nil
}

// A web is a target of HTTP.
type web struct {
	client http.Client
	url    string
}

func (t *web) ask(ctx context.Context, token []byte) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Header.Set(header, string(bytes.TrimSpace(token)))
	answer, err := t.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
