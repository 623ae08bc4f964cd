package e2e

import (
	"context"
	"strconv"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// serveGRPCApp runs an app for daprd's gRPC protocol behind the guard's
// interceptors until the test ends, and returns its port. healthy decides the
// answer of its health check.
func serveGRPCApp(tb testing.TB, tally *appTally, guard []grpc.UnaryServerInterceptor, healthy func() bool) int {
	tb.Helper()
	listener := listen(tb)
	interceptors := append([]grpc.UnaryServerInterceptor{tally.watchGRPC}, guard...)
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(append(interceptors, tally.countGRPC)...))
	callback := &grpcApp{t: tb, tally: tally, healthy: healthy}
	runtimev1.RegisterAppCallbackServer(server, callback)
	runtimev1.RegisterAppCallbackHealthCheckServer(server, callback)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	tb.Cleanup(server.Stop)
	return portOf(listener)
}

// watchGRPC goes before the guard.
func (t *appTally) watchGRPC(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(withBegin(ctx), req)
	if err != nil && info.FullMethod != runtimev1.AppCallbackHealthCheck_HealthCheck_FullMethodName {
		t.Refused.Add(1)
	}
	return resp, err
}

// countGRPC goes behind the guard.
func (t *appTally) countGRPC(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	switch info.FullMethod {
	case runtimev1.AppCallback_OnTopicEvent_FullMethodName,
		runtimev1.AppCallback_OnBindingEvent_FullMethodName,
		runtimev1.AppCallback_OnInvoke_FullMethodName:
		t.handled(ctx)
	}
	return next(ctx, req)
}

type grpcApp struct {
	runtimev1.UnimplementedAppCallbackServer
	runtimev1.UnimplementedAppCallbackHealthCheckServer
	t       testing.TB
	tally   *appTally
	healthy func() bool
}

func (c *grpcApp) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	return &runtimev1.ListTopicSubscriptionsResponse{
		Subscriptions: []*runtimev1.TopicSubscription{{PubsubName: pubSub, Topic: topic}},
	}, nil
}

func (c *grpcApp) ListInputBindings(context.Context, *emptypb.Empty) (*runtimev1.ListInputBindingsResponse, error) {
	return &runtimev1.ListInputBindingsResponse{Bindings: []string{cronBinding}}, nil
}

func (c *grpcApp) OnTopicEvent(_ context.Context, in *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	if id, ok := c.unquote(in.GetData()); ok {
		c.tally.Messages.Add(id)
	}
	return &runtimev1.TopicEventResponse{}, nil
}

func (c *grpcApp) OnBindingEvent(context.Context, *runtimev1.BindingEventRequest) (*runtimev1.BindingEventResponse, error) {
	c.tally.Ticks.Add(1)
	return &runtimev1.BindingEventResponse{}, nil
}

func (c *grpcApp) OnInvoke(_ context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	if id, ok := c.unquote(in.GetData().GetValue()); ok {
		c.tally.Calls.Add(id)
	}
	return &commonv1.InvokeResponse{}, nil
}

func (c *grpcApp) unquote(data []byte) (string, bool) {
	id, err := strconv.Unquote(string(data))
	if err != nil {
		c.t.Errorf("data that is no string: %v", err)
	}
	return id, err == nil
}

func (c *grpcApp) HealthCheck(context.Context, *emptypb.Empty) (*runtimev1.HealthCheckResponse, error) {
	if !c.healthy() {
		return nil, status.Error(codes.Unavailable, "not ready")
	}
	return &runtimev1.HealthCheckResponse{}, nil
}
