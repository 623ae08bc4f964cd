//go:build unix

package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRunReadsOnHangup is not parallel, since it sends the signal to the test process.
func TestRunReadsOnHangup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listens, read := make(chan struct{}), make(chan struct{})
	log := &waiter{text: "for=admin-listen", found: listens, next: "SIGHUP: all sources were read", then: read}
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, "", []string{"run", "--token-file", file(t, good), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"},
			strings.NewReader(""), &bytes.Buffer{}, log)
	}()
	for _, happened := range []chan struct{}{listens, read} {
		select {
		case <-happened:
		case <-time.After(20 * time.Second):
			t.Fatal("run does not listen, or does not read after the signal")
		}
		if happened == listens {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
