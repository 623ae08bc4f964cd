package demo

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A readOnce is the verifier of an app that reads its token when it starts, and accepts only
// that one, as apps do that check Dapr's token from their environment. A restart takes no
// time: no request is lost to it.
type readOnce struct {
	mount    string
	accepted atomic.Pointer[verify.Verifier]
}

// restart makes the app read its token again.
func (o *readOnce) restart() error {
	text, err := os.ReadFile(filepath.Join(o.mount, token.FileCurrent))
	if err != nil {
		return err
	}
	v := verify.Static(string(text))
	o.accepted.Store(&v)
	return nil
}

// Verify implements [verify.Verifier].
func (o *readOnce) Verify(ctx context.Context, text string) (*verify.Principal, error) {
	return (*o.accepted.Load()).Verify(ctx, text)
}
