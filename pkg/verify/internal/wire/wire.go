// Package wire holds what the HTTP and the gRPC adapter must agree on: where
// the credential stands, what is exempt, and what a refusal says.
package wire

import "strings"

// DaprHeader is the HTTP header and gRPC metadata key in which daprd sends
// APP_API_TOKEN.
const DaprHeader = "dapr-api-token"

// Authorization is the header of RFC 9110 section 11.6.2, lower-case as gRPC
// metadata has it.
const Authorization = "authorization"

// DefaultHeaders are the headers looked at where none are configured, in order.
func DefaultHeaders() []string { return []string{DaprHeader, Authorization} }

// Refusal texts. They are the same for every class of bad token.
const (
	TextUnauthenticated = "missing or invalid token"
	TextUnavailable     = "token source not loaded yet"
	TextBusy            = "too many signatures are being checked; try again"
)

// GRPCExempt reports whether the gRPC method (as "/service/Method") carries no
// token by its nature: health probes, and the calls that daprd makes without
// its app token (observed on daprd 1.16.5).
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

// Bearer returns the token of an Authorization value with the Bearer scheme
// (RFC 6750 section 2.1; the scheme is case-insensitive by RFC 9110 section
// 11.1), and "" for any other value.
func Bearer(value string) string {
	const scheme = "bearer"
	if len(value) <= len(scheme) || value[len(scheme)] != ' ' || !strings.EqualFold(value[:len(scheme)], scheme) {
		return ""
	}
	return strings.Trim(value[len(scheme)+1:], " ")
}
