// Command client sends the current token of a file with each request to one host.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func client(tokens verify.TokenSource, host string) *http.Client {
	return &http.Client{Transport: httpauth.Transport(tokens, nil, httpauth.TransportOptions{Hosts: []string{host}})}
}

func main() {
	a, err := agent.Start(context.Background(), agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	res, err := client(a, "orders.example:443").Get("https://orders.example/orders")
	if err != nil {
		log.Print(err)
		return
	}
	defer res.Body.Close()
	fmt.Println(res.Status)
}
