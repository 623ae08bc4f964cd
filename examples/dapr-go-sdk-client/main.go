// Command dapr-go-sdk-client calls its Dapr sidecar, over gRPC with Dapr's go-sdk and over
// HTTP, with the token that daprd asks for where DAPR_API_TOKEN is set. It goes on
// through rotations of that token without a restart of its own.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := openTokens(ctx, cmp.Or(os.Getenv("TOKEN_DIR"), "/var/run/secrets/dapr-api-token"), slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	defer t.close()
	// Dapr gives every app container these two ports.
	viaHTTP := newHTTP(t, net.JoinHostPort("127.0.0.1", cmp.Or(os.Getenv("DAPR_HTTP_PORT"), "3500")))
	viaGRPC, err := newGRPC(t, net.JoinHostPort("127.0.0.1", cmp.Or(os.Getenv("DAPR_GRPC_PORT"), "50001")))
	if err != nil {
		log.Fatal(err)
	}
	defer viaGRPC.Close()

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		// daprd does not answer while it restarts, so repeat a call that must not be lost.
		fmt.Println("HTTP:", viaHTTP.publish(ctx, "{}"), "gRPC:", viaGRPC.PublishEvent(ctx, "pubsub", "orders", "{}"))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// An httpClient publishes over HTTP.
type httpClient struct {
	host   string
	client *http.Client
}

func newHTTP(t *tokens, host string) httpClient {
	// No proxy: the sidecar is on this machine.
	base := roundTripper{tokens: t, base: &http.Transport{}}
	return httpClient{host, &http.Client{
		Transport: httpauth.Transport(t, base, httpauth.TransportOptions{Hosts: []string{host}}),
		Timeout:   10 * time.Second,
	}}
}

func (c httpClient) publish(ctx context.Context, event string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.host+"/v1.0/publish/pubsub/orders", strings.NewReader(event))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("daprd answers %s", resp.Status)
	}
	return nil
}

// newGRPC returns the SDK's client over a connection of ours. The SDK's own
// connections send DAPR_API_TOKEN as it was when they were made.
func newGRPC(t *tokens, host string) (dapr.Client, error) {
	conn, err := grpc.NewClient(host,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // within this machine
		grpc.WithPerRPCCredentials(grpcauth.PerRPCCredentials(t, grpcauth.CredentialsOptions{Hosts: []string{host}})),
		grpc.WithChainUnaryInterceptor(grpcauth.UnaryClientInterceptor(), t.interceptor))
	if err != nil {
		return nil, err
	}
	return dapr.NewClientWithConnection(conn), nil
}
