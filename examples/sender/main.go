// Command sender calls an HTTP service with the current token, once a second. The token
// comes from the file that APP_API_TOKEN_FILE names, which is read again when it
// changes, or from APP_API_TOKEN.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	target, err := url.Parse(cmp.Or(os.Getenv("URL"), "http://127.0.0.1:8080/hello"))
	if err != nil {
		log.Fatal(err)
	}
	a, err := agent.Start(ctx, agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()

	// Its requests to the one host carry the token; redirects elsewhere do not.
	client := &http.Client{
		Transport: httpauth.Transport(a, nil, httpauth.TransportOptions{Hosts: []string{target.Host}}),
		Timeout:   10 * time.Second,
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		ask(ctx, client, target.String())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // the user gives the URL
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(r) //nolint:gosec // the user gives the URL
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}
