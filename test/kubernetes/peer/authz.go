package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// An authz is whom to ask as Envoy does, over ext_authz: grpc://host:port.
type authz struct{ client authv3.AuthorizationClient }

// dialAuthz keeps its connection until the program ends.
func dialAuthz(addr string) (*authz, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &authz{authv3.NewAuthorizationClient(conn)}, nil
}

// ask returns the status that Envoy would answer with, or let through by.
func (a *authz) ask(ctx context.Context, token []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := a.client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: http.MethodGet, Path: "/", Headers: map[string]string{
			strings.ToLower(header): string(bytes.TrimSpace(token)),
		}},
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
