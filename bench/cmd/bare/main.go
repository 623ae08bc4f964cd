// Command bare answers every request as tokenagent answers an accepted one, without
// a decision. It shows what net/http and grpc-go cost.
//
//	bare http unix:///run/bare.sock
//	bare alike unix:///run/alike.sock       with tokenagent's deadlines and header
//	bare grpc 127.0.0.1:9001 <answer        answer is a CheckResponse in protobuf
//	bare proxy 127.0.0.1:9002 127.0.0.1:80  net/http/httputil's ReverseProxy
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || (args[0] == "proxy") != (len(args) == 3) {
		return errors.New("usage: bare http ADDR | alike ADDR | grpc ADDR | proxy ADDR UPSTREAM")
	}
	network, addr := "tcp", args[1]
	if path, unix := strings.CutPrefix(addr, "unix://"); unix {
		network, addr = "unix", path
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), network, addr)
	if err != nil {
		return err
	}
	switch args[0] {
	case "http":
		yes := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
		return http.Serve(l, http.HandlerFunc(yes)) //nolint:gosec // it has no timeouts on purpose
	case "alike":
		const some = 10 * time.Second
		subject := []string{"token"}
		s := http.Server{
			ReadHeaderTimeout: some, ReadTimeout: some, WriteTimeout: some, IdleTimeout: 2 * time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["X-Tokenagent-Subject"] = subject
				w.WriteHeader(http.StatusOK)
			}),
		}
		return s.Serve(l)
	}
	if args[0] == "proxy" {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented type
		transport.MaxIdleConnsPerHost = 256
		upstream := &url.URL{Scheme: "http", Host: args[2]}
		return http.Serve(l, &httputil.ReverseProxy{ //nolint:gosec // it has no timeouts on purpose
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.SetXForwarded() },
			Transport: transport,
		})
	}
	answer := &authv3.CheckResponse{}
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = proto.Unmarshal(text, answer)
	}
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, always{answer: answer})
	return s.Serve(l)
}

type always struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

func (a always) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return a.answer, nil
}
