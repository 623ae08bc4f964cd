package reload

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// P4: after any error of the source the last good state stays, the error is visible and
// logged once, and the Value recovers.
func TestP4_BadSourceKeepsLastGood(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"empty":        func(t *testing.T, path string) { put(t, path, "") },
		"blank":        func(t *testing.T, path string) { put(t, path, "\ufeff \r\n\t") },
		"refused":      func(t *testing.T, path string) { put(t, path, "bad") },
		"vanished":     func(t *testing.T, path string) { check(t, os.Remove(path)) },
		"no directory": func(t *testing.T, path string) { check(t, os.RemoveAll(filepath.Dir(path))) },
		"a directory":  func(t *testing.T, path string) { check(t, os.Remove(path), os.Mkdir(path, 0o700)) },
		"a loop":       func(t *testing.T, path string) { check(t, os.Remove(path), os.Symlink("token", path)) },
		"too large":    func(t *testing.T, path string) { put(t, path, strings.Repeat("x", 101)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(dir, "d", "token")
				check(t, os.Mkdir(filepath.Dir(path), 0o700))
				put(t, path, "good")
				l := bubble(t, File(path), Options{MaxBytes: 100})
				synctest.Wait()
				spoil(t, path)
				time.Sleep(time.Minute)
				synctest.Wait()
				s := l.Stats()
				if deref(l.Load()) != "good" || l.Stats().Applied == 0 {
					t.Errorf("is %q, ready %v", deref(l.Load()), l.Stats().Applied > 0)
				}
				if s.LastError == nil || s.Rejected+s.Failed < 4 {
					t.Errorf("the error is not visible, or not tried again: %+v", s)
				}
				if n, _ := l.log.count("keeping the last good"); n != 1 {
					t.Errorf("logged %d times: %q", n, l.log.recs)
				}
				check(t, os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700))
				put(t, path, "better")
				l.becomesWithin(t, "better", time.Minute)
				if s := l.Stats(); s.LastError != nil {
					t.Errorf("not recovered: %v", s.LastError)
				}
				l.log.await(t, "source is good again", 1)
			})
		})
	}
}

// Rejected content is tried again at every poll. The content that was accepted before is
// accepted without a Debounce.
func TestRejectedIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "token")
		put(t, path, "one")
		var lenient atomic.Bool
		v, err := Open(File(path), func(_ *string, c Content, _ time.Time) (*string, error) {
			if s := string(c.Data); s == "one" || lenient.Load() {
				return &s, nil
			}
			return nil, errBad
		}, Options{PollOnly: true, Logger: slog.New(newJournal())})
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		put(t, path, "two")
		time.Sleep(time.Minute)
		if n := v.Stats().Rejected; n < 4 {
			t.Errorf("rejected %d times in a minute", n)
		}
		put(t, path, "one")
		time.Sleep(12 * time.Second)
		if s := v.Stats(); s.LastError != nil || s.Applied != 1 {
			t.Errorf("after the accepted content returned: %+v", s)
		}
		put(t, path, "two")
		time.Sleep(time.Minute)
		lenient.Store(true)
		time.Sleep(11 * time.Second)
		if got := *v.Load(); got != "two" {
			t.Errorf("is %q", got)
		}
		cancel()
		check(t, <-done)
	})
}
