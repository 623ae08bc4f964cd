package peers

import (
	"encoding/json"

	"google.golang.org/grpc/authz"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// AuthzPolicy returns a policy of grpc-go's authz that accepts the tokens.
func AuthzPolicy(tokens ...string) ([]byte, error) {
	return json.Marshal(map[string]any{
		"name": "tokens",
		"allow_rules": []any{map[string]any{
			"name":    "token",
			"request": map[string]any{"headers": []any{map[string]any{"key": work.Key, "values": tokens}}},
		}},
	})
}

// Authz returns the interceptor of [AuthzPolicy].
func Authz(tokens ...string) (*authz.StaticInterceptor, error) {
	policy, err := AuthzPolicy(tokens...)
	if err != nil {
		return nil, err
	}
	return authz.NewStatic(string(policy))
}
