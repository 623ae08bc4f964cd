// Package stdin reads standard input so that an interrupted command ends at once.
package stdin

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/internal/bounded"
)

// Read reads all of in. If in has more than limit bytes, Read returns limit+1 bytes. When
// ctx ends, Read returns [exitcode.Interrupted]. A goroutine may then still be reading,
// because a read from a terminal or a pipe cannot be cancelled.
//
// If in is a terminal, Read first writes to stderr that it is waiting for input. what names
// the input, such as "a token".
func Read(ctx context.Context, in io.Reader, stderr io.Writer, what string, limit int) ([]byte, error) {
	if Terminal(in) {
		_, _ = fmt.Fprintf(stderr, "tokenagent: waiting for %s on standard input; end it with Ctrl-D on a line of its own\n", what)
	}
	text, err := bounded.Do(ctx, what, func() ([]byte, error) { return io.ReadAll(io.LimitReader(in, int64(limit)+1)) })
	switch {
	case ctx.Err() != nil:
		return nil, exitcode.Interrupted
	case err != nil:
		return nil, fmt.Errorf("reading %s from standard input: %w", what, err)
	}
	return text, nil
}

// Terminal reports whether in is a terminal, or another character device except the
// null device.
func Terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
