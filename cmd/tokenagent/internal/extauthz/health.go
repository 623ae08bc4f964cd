package extauthz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// health tells by the gRPC health checking protocol
// (github.com/grpc/grpc/blob/master/doc/health-checking.md) whether the agent
// can decide. It keeps no state of its own that could lag behind, and unlike
// grpc-go's it ends its watches when the server drains, which would otherwise
// wait for them.
type health struct {
	healthpb.UnimplementedHealthServer
	agent    readiness
	draining <-chan struct{} // closed when nobody should ask any more
	stopping <-chan struct{} // closed when watches are to end; not before draining
}

// readiness is what health looks at.
type readiness interface {
	Ready() bool
	Updated() <-chan struct{}
}

// services are those that have a health: the server as a whole, and the one it
// is for.
func services() []string { return []string{"", authv3.Authorization_ServiceDesc.ServiceName} }

func known(service string) bool { s := services(); return service == s[0] || service == s[1] }

func (h *health) now() *healthpb.HealthCheckResponse {
	s := healthpb.HealthCheckResponse_NOT_SERVING
	select {
	case <-h.draining:
	default:
		if h.agent.Ready() {
			s = healthpb.HealthCheckResponse_SERVING
		}
	}
	return &healthpb.HealthCheckResponse{Status: s}
}

// Check implements healthpb.HealthServer.
func (h *health) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !known(r.GetService()) {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return h.now(), nil
}

// List implements healthpb.HealthServer.
func (h *health) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := make(map[string]*healthpb.HealthCheckResponse)
	for _, service := range services() {
		all[service] = h.now()
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch implements healthpb.HealthServer.
func (h *health) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	last := healthpb.HealthCheckResponse_UNKNOWN
	draining := h.draining
	for {
		updated := h.agent.Updated() // before the look, so that no change is missed
		now := h.now()
		if !known(r.GetService()) {
			now.Status = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if now.GetStatus() != last {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now.GetStatus()
		}
		select {
		case <-updated:
		case <-draining:
			draining = nil // once is enough
		case <-h.stopping:
			return h.end(stream, last)
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// end tells a watch once more that it is over, unless it knows.
func (h *health) end(stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse], last healthpb.HealthCheckResponse_ServingStatus) error {
	if last == healthpb.HealthCheckResponse_SERVING {
		if err := stream.Send(h.now()); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "shutting down")
}
