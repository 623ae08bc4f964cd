package stdin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
)

// TestReadEndsWithItsContext checks that Read returns when ctx ends, without any input.
func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := stdin.Read(ctx, in, io.Discard, "a token", 10)
			ended <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			if !errors.Is(err, exitcode.Interrupted) || exitcode.Of(err) != 130 {
				t.Errorf("%v, exit code %d", err, exitcode.Of(err))
			}
		default:
			t.Error("Read still waits")
		}
		_ = w.Close() // ends the goroutine
	})
}

func TestRead(t *testing.T) {
	var errOut bytes.Buffer
	text, err := stdin.Read(t.Context(), strings.NewReader("0123456789"), &errOut, "a token", 4)
	if string(text) != "01234" || err != nil { // one byte more than the limit
		t.Errorf("%q %v", text, err)
	}
	if errOut.Len() != 0 {
		t.Errorf("a notice for a terminal: %q", errOut.String())
	}
	_, err = stdin.Read(t.Context(), iotest.ErrReader(errors.New("broken")), &errOut, "a token", 4)
	if err == nil || err.Error() != "reading a token from standard input: broken" {
		t.Error(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if stdin.Terminal(null) || stdin.Terminal(strings.NewReader("")) {
		t.Error("the null device or a string is a terminal")
	}
}
