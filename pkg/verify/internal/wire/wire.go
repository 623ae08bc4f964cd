// Package wire holds what httpauth and grpcauth share: which header field
// carries the token, what is exempt, where a token may be sent, and what a
// refusal says.
package wire

// GRPCExempt reports whether fullMethod, a gRPC method such as
// "/package.Service/Method", is exempt by default: a health check, or one of the
// three methods that daprd calls without its app token (observed with daprd 1.16.5, and
// read in the source of 1.18.2).
func GRPCExempt(fullMethod string) bool {
	switch fullMethod {
	case "/grpc.health.v1.Health/Check",
		"/grpc.health.v1.Health/List",
		"/grpc.health.v1.Health/Watch",
		"/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions",
		"/dapr.proto.runtime.v1.AppCallback/ListInputBindings",
		"/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck":
		return true
	}
	return false
}
