// Command peer is what the agent talks to in the tests on Kubernetes: the app behind a
// sidecar, and the sender of requests. It has its own image, because the nodes of a test
// cluster may not reach a registry.
//
//	peer serve 127.0.0.1:3000                        an app, healthy at /healthz
//	peer send DIR unix:///run/agent.sock             the token in DIR, again and again
//	peer ask http://10.0.0.1:9465/ <token            once; prints the status
//	peer ask grpc://10.0.0.1:9466 <token             the same, as Envoy's ext_authz
//	peer kill tokenagent                             kills a program in another container of the pod
//	peer app 127.0.0.1:3000 http|grpc env|file|agent [jobs]      an app under Dapr
//	peer tap :8090 http://127.0.0.1:3000 COUNTER http|grpc       between daprd and the app; counts
//	peer load :7000 [actors]                         calls the app through Dapr, and is the COUNTER
//	peer post http://127.0.0.1:7000/stop             once; prints the answer
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
	"strings"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	header = "Dapr-Api-Token"
	pause  = 10 * time.Millisecond // the pause between two requests of a sender
	limit  = 5 * time.Second       // the timeout of one request
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
		return askOnce(ctx, args[1], stdin, stdout)
	case len(args) == 2 && args[0] == "kill":
		return kill(args[1])
	case len(args) >= 4 && args[0] == "app":
		return app(ctx, args[1], args[2], args[3], len(args) > 4)
	case len(args) == 5 && args[0] == "tap":
		return tap(ctx, args[1], args[2], args[3], args[4])
	case len(args) >= 2 && args[0] == "load":
		return load(ctx, args[1], len(args) > 2, stdout)
	case len(args) == 2 && args[0] == "post":
		return control(ctx, args[1], stdout)
	default:
		return errors.New("usage: peer serve ADDR | send DIR TARGET | ask TARGET | kill NAME | app ... | tap ... | load ADDR | post URL")
	}
}

// kill kills every process of this name in the pod, as the kernel does when memory runs out.
func kill(name string) error {
	killed := false
	for _, id := range processes(name) {
		process, _ := os.FindProcess(id) // never fails on Unix
		if err := process.Kill(); err != nil {
			return err
		}
		killed = true
	}
	if !killed {
		return fmt.Errorf("no process has the name %s", name)
	}
	return nil
}

// serve is an app that answers 500 if the sender's token reaches it.
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

// send sends requests to target with the key `token` of the directory dir. It reads the
// token again for each request, as a sender should. It prints the counts and the token's
// fingerprint when the answer or the token changes, and at every hundredth request.
func send(ctx context.Context, dir, target string, stdout io.Writer) error {
	ask, err := connect(target)
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
		token = bytes.TrimSpace(token)
		status, err := ask(ctx, string(token))
		sum := sha256.Sum256(token)
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

func askOnce(ctx context.Context, target string, stdin io.Reader, stdout io.Writer) error {
	token, err := io.ReadAll(io.LimitReader(stdin, 1<<16))
	if err != nil {
		return err
	}
	ask, err := connect(target)
	if err != nil {
		return err
	}
	status, err := ask(ctx, string(bytes.TrimSpace(token)))
	if err == nil {
		_, err = fmt.Fprintln(stdout, status)
	}
	return err
}

// An ask sends one request with a token and returns the HTTP status of the answer.
type ask func(ctx context.Context, token string) (status int, err error)

// connect returns an ask for target: http://host:port/path, unix:///path, or
// grpc://host:port for Envoy's ext_authz.
func connect(target string) (ask, error) {
	if addr, ok := strings.CutPrefix(target, "grpc://"); ok {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		return askEnvoy(authv3.NewAuthorizationClient(conn)), nil
	}
	client := &http.Client{Timeout: limit}
	if path, ok := strings.CutPrefix(target, "unix://"); ok {
		target = "http://agent/"
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}
	}
	return func(ctx context.Context, token string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody) //nolint:gosec // the test says whom to ask
		if err != nil {
			return 0, err
		}
		r.Header.Set(header, token)
		answer, err := client.Do(r) //nolint:gosec // as above
		if err != nil {
			return 0, err
		}
		defer func() { _ = answer.Body.Close() }()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}, nil
}

// askEnvoy asks as Envoy does. The status is the one with which Envoy would answer.
func askEnvoy(client authv3.AuthorizationClient) ask {
	return func(ctx context.Context, token string) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		answer, err := client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{Method: http.MethodGet, Path: "/", Headers: map[string]string{strings.ToLower(header): token}},
		}}})
		switch {
		case err != nil:
			return 0, err
		case answer.GetOkResponse() != nil && answer.GetStatus().GetCode() == 0:
			return http.StatusOK, nil
		default:
			return int(answer.GetDeniedResponse().GetStatus().GetCode()), nil
		}
	}
}
