//go:build unix

package listener

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// kill closes l as if its process were killed: the file stays.
func kill(l net.Listener) { _ = l.(*socket).UnixListener.Close() }

func TestUnixSocket(t *testing.T) {
	path := at(t)
	addr := "unix://" + path
	first, err := Open(t.Context(), addr, Socket{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Addr().String() != path {
		t.Errorf("it says that it is at %s", first.Addr())
	}
	if _, err := Open(t.Context(), addr, Socket{}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a live socket was taken: %v", err)
	}
	kill(first)
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), addr, Socket{})
	if err != nil {
		t.Fatalf("a stale socket stands in the way: %v", err)
	}
	_ = second.Close()
	_ = second.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file outlives its listener")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A listener whose file was removed does not remove the file of the next listener.
func TestCloseLeavesTheFileOfASuccessor(t *testing.T) {
	path := at(t)
	first, err := Open(t.Context(), "unix://"+path, Socket{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), "unix://"+path, Socket{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_ = first.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatalf("the next listener's socket was removed: %v", err)
	}
	_ = conn.Close()
}

func TestRefusedPlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("CANARY"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ addr, says string }{
		{"unix://" + file, "is not a socket; choose another path"},
		{"unix://" + dir + "/missing/s", "does not exist; create it"},
		{"unix://" + file + "/s", "is not a directory"},
		{"unix://", "has no path"},
		{"unix://@name", "abstract"},
		{"unix://" + dir + "/", "name a socket in it"},
		{"unix://" + dir + "/" + strings.Repeat("x", 108), "bytes, and the system allows 10"},
	} {
		l, err := Open(t.Context(), c.addr, Socket{})
		if err == nil {
			_ = l.Close()
			t.Errorf("%s was opened", c.addr)
		} else if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v; want %q", c.addr, err, c.says)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "CANARY" {
		t.Error("the file that is not a socket has changed")
	}
}

// The file never has a wider mode than the configured one.
func TestModeFromTheFirstMoment(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux gives the file the mode of the socket")
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := at(t)
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			if info, err := os.Lstat(path); err == nil && info.Mode()&^0o640 != fs.ModeSocket {
				t.Errorf("seen with %v", info.Mode())
				return
			}
		}
	})
	for range 200 {
		l, err := Open(t.Context(), "unix://"+path, Socket{Mode: 0o640})
		if err != nil {
			t.Error(err)
			break
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o640 {
			t.Errorf("opened with %v, %v", info, err)
		}
		_ = l.Close()
	}
	stop()
	looking.Wait()
}

// A process that was killed between bind and chmod leaves a socket of mode 0.
func TestSocketWithoutAModeIsStale(t *testing.T) {
	path := at(t)
	l, err := Open(t.Context(), "unix://"+path, Socket{})
	if err != nil {
		t.Fatal(err)
	}
	kill(l)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	l, err = Open(t.Context(), "unix://"+path, Socket{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	path := at(t)
	l, err := Open(t.Context(), "unix://"+path, Socket{Mode: 0o660, Owner: &Owner{UID: 1234, GID: 5678}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sys := info.Sys().(*syscall.Stat_t); sys.Uid != 1234 || sys.Gid != 5678 || info.Mode().Perm() != 0o660 {
		t.Errorf("owner %d:%d, mode %v", sys.Uid, sys.Gid, info.Mode())
	}
}

// If many start at the same time on one stale file, one gets it and answers there.
func TestOneOfMany(t *testing.T) {
	path := at(t)
	for range 30 {
		stale, err := Open(t.Context(), "unix://"+path, Socket{})
		if err != nil {
			t.Fatal(err)
		}
		kill(stale)
		var mu sync.Mutex
		var won []net.Listener
		var starting sync.WaitGroup
		for range 8 {
			starting.Go(func() {
				l, err := Open(t.Context(), "unix://"+path, Socket{})
				if err == nil {
					mu.Lock()
					won = append(won, l)
					mu.Unlock()
				} else if !strings.Contains(err.Error(), "in use by another process") {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		if len(won) != 1 {
			t.Fatalf("%d got the one place", len(won))
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = won[0].Close()
	}
}

func TestParse(t *testing.T) {
	if m, err := ParseMode("0660"); err != nil || m != 0o660 {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []string{"", "rw", "0888", "1777", "0444", "-1"} {
		if _, err := ParseMode(bad); err == nil {
			t.Errorf("mode %q is taken", bad)
		}
	}
	for text, want := range map[string]Owner{"7": {7, -1}, "7:8": {7, 8}, ":8": {-1, 8}, "root:0": {0, 0}} {
		if o, err := ParseOwner(text); err != nil || *o != want {
			t.Errorf("%q: %v, %v", text, o, err)
		}
	}
	for _, bad := range []string{"", ":", "7:", "no-such-user-CANARY", "0:no-such-group-CANARY", "-1", "99999999999"} {
		if _, err := ParseOwner(bad); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("owner %q: %v", bad, err)
		}
	}
}
