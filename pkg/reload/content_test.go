package reload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// P7: Content shows nothing of what was read, in any format.
func TestP7_ContentShowsNothing(t *testing.T) {
	const canary = "CANARY-0a1b2c3d"
	for _, c := range []Content{{Data: []byte(canary)}, {Keys: map[string][]byte{"token": []byte(canary)}}} {
		var out bytes.Buffer
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v", c, c, c, c, c, c, c, &c)
		_ = json.NewEncoder(&out).Encode(c)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c)
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), "Q0FOQVJZ", strings.Trim(fmt.Sprint([]byte(canary)), "[]")} {
			if strings.Contains(out.String(), form) {
				t.Errorf("content shows:\n%s", out.String())
			}
		}
	}
}

// An empty directory, such as a container runtime creates for a missing source, does not
// fix the kind of a Path.
func TestKindIsFixedByContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	check(t, os.Mkdir(path, 0o700))
	none := func(prev *string, c Content, now time.Time) (*string, error) {
		if c.Keys != nil && len(c.Keys) == 0 {
			return nil, os.ErrNotExist
		}
		return joined(prev, c, now)
	}
	v, err := Open(Path(path, "token"), none, Options{Wait: true})
	check(t, err)
	check(t, os.Remove(path))
	put(t, path, "1")
	if _, err := v.Reload(); err != nil {
		t.Errorf("a file after an empty directory: %v", err)
	}
}

// Two errors that take turns are logged once each.
func TestErrorsThatAlternateAreLoggedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := open(t, File(path), quick())
	for range 5 {
		put(t, path, "")
		_, _ = l.Reload()
		check(t, os.Remove(path))
		_, _ = l.Reload()
	}
	l.log.await(t, "source is bad", 2)
	if n, _ := l.log.count("source is bad"); n != 2 {
		t.Errorf("logged %d times, want 2", n)
	}
}
