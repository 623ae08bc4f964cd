package app

import (
	"context"
	"net/http"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/tokenagent/tokenagent/test/e2e/internal/sidecar"
)

// aCall is the id that calls past daprd carry.
const aCall = `"past-daprd"`

// CallHTTP invokes the app at addr as daprd would. An answer that is neither
// success nor 401 is an error.
func CallHTTP(ctx context.Context, addr, token string) (admitted bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/"+sidecar.Method, strings.NewReader(aCall))
	if err != nil {
		return false, err
	}
	req.Header.Set("Dapr-Api-Token", token)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized:
		return false, nil
	}
	return false, sidecar.StatusError(resp.StatusCode)
}

// CallGRPC invokes the app at addr as daprd would. An answer that is neither
// success nor Unauthenticated is an error.
func CallGRPC(ctx context.Context, addr, token string) (admitted bool, err error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
	_, err = runtimev1.NewAppCallbackClient(conn).OnInvoke(ctx, &commonv1.InvokeRequest{
		Method: sidecar.Method,
		Data:   &anypb.Any{Value: []byte(aCall)},
	})
	if status.Code(err) == codes.Unauthenticated {
		return false, nil
	}
	return err == nil, err
}
