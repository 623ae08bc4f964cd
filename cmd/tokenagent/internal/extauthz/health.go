package extauthz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// health reports by the gRPC health checking protocol
// (github.com/grpc/grpc/blob/master/doc/health-checking.md) whether the agent can
// decide. It has no state of its own, so it cannot lag behind the agent. Unlike the
// health server of grpc-go, it ends its watches before a shutdown, which would otherwise
// wait for them.
type health struct {
	healthpb.UnimplementedHealthServer
	realms   Realms
	draining <-chan struct{} // closed when clients should use another server
}

// status returns the status of service. The empty service is the server as a whole; the
// only other service is Authorization.
func (h *health) status(service string) healthpb.HealthCheckResponse_ServingStatus {
	if service != "" && service != authv3.Authorization_ServiceDesc.ServiceName {
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
	if isClosed(h.draining) || !h.realms.Ready() {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Check implements healthpb.HealthServer.
func (h *health) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	now := h.status(r.GetService())
	if now == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: now}, nil
}

// Watch implements healthpb.HealthServer.
func (h *health) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		updated, draining := h.realms.Updated(), isClosed(h.draining) // before the status, so that no change is missed
		if now := h.status(r.GetService()); now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		if draining {
			return status.Error(codes.Unavailable, "shutting down")
		}
		select {
		case <-updated:
		case <-h.draining:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}
