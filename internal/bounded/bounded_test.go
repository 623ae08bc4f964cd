package bounded_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/bounded"
)

func TestDo(t *testing.T) {
	t.Parallel()
	inner := errors.New("inner")
	n, err := bounded.Do(t.Context(), "it", func() (int, error) { return 3, inner })
	if n != 3 || !errors.Is(err, inner) {
		t.Errorf("%d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hang := make(chan struct{})
	_, err = bounded.Do(ctx, "it", func() (int, error) { <-hang; return 0, nil })
	close(hang)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "gave up reading it") {
		t.Errorf("a read that hangs: %v", err)
	}
}
