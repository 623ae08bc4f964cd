package peers

import (
	"context"
	"net/http"
	"os"

	"github.com/dapr/go-sdk/service/common"
	daprhttp "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
)

// Dapr returns the handler of a Dapr app whose only method, "/orders", does nothing. It
// is go-sdk's own service, which checks the token. An empty token switches the check
// off.
func Dapr(token string) (http.Handler, error) {
	if err := os.Setenv(common.AppAPITokenEnvVar, token); err != nil {
		return nil, err
	}
	defer func() { _ = os.Unsetenv(common.AppAPITokenEnvVar) }()
	mux := chi.NewMux()
	s := daprhttp.NewServiceWithMux("", mux) // reads the variable once
	err := s.AddServiceInvocationHandler("/orders", func(context.Context, *common.InvocationEvent) (*common.Content, error) {
		return nil, nil
	})
	return mux, err
}

// DaprCheck makes the same comparison as go-sdk's handler (service/http/invoke.go),
// without the rest of the handler.
func DaprCheck(h http.Header, token string) bool {
	got := h.Get(common.APITokenKey)
	return got != "" && got == token
}
