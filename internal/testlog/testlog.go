// Package testlog records log output for tests, and counts the inotify instances of the
// process.
package testlog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// A Log records log output. The zero Log is ready to use. It is safe for concurrent
// use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger returns a Logger that writes everything into l, as text.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Inotify returns the number of inotify instances of this process (see proc(5)). It
// skips the test on systems other than Linux.
func Inotify(tb testing.TB) (n int) {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("inotify exists only on Linux")
	}
	const dir = "/proc/self/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}
