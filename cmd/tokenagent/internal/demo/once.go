package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A onceServer is an HTTP server that reads its token when it starts, and accepts only that
// one, as apps do that check Dapr's token from their environment. A restart takes no time:
// no request is lost to it.
type onceServer struct {
	mount   string
	handler atomic.Pointer[http.Handler]
	server  *httptest.Server
}

func serveOnce(mount string) (*onceServer, error) {
	o := &onceServer{mount: mount}
	if err := o.restart(); err != nil {
		return nil, err
	}
	o.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*o.handler.Load()).ServeHTTP(w, r)
	}))
	return o, nil
}

// restart makes o read its token again.
func (o *onceServer) restart() error {
	text, err := os.ReadFile(filepath.Join(o.mount, token.FileCurrent))
	if err != nil {
		return err
	}
	h := httpauth.Middleware(verify.Static(string(text)), httpauth.Options{})(http.HandlerFunc(tellSlot))
	o.handler.Store(&h)
	return nil
}

func (o *onceServer) call(ctx context.Context, token string) answer {
	return get(ctx, o.server.Client(), o.server.URL, token)
}
