package reload

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const childEnv = "RELOAD_TEST_CHILD"

// alone runs the test in a process with its own mount table, because mounts and the user
// belong to a process and not to a goroutine. It reports whether this is that process. It
// skips the test without root.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, for mounts and for changing the user")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("the child skipped: %s", out)
	case err != nil && len(out) == 0:
		t.Skipf("cannot create a mount namespace: %v", err)
	case err != nil || !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("the child failed: %v\n%s", err, out)
	}
	return false
}

func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("mount refused: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) })
}

func TestOverlay(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		check(t, os.Mkdir(at(name), 0o700))
	}
	put(t, at("lower/token"), "0")
	put(t, at("lower/other"), "0")
	mount(t, "overlay", at("merged"), "overlay", 0,
		fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work")))
	o := Options{Poll: 50 * time.Millisecond, Debounce: 60 * time.Millisecond}
	token, other := start(t, File(at("merged/token")), o), start(t, File(at("merged/other")), o)
	put(t, at("merged/token"), "1") // copied up
	token.becomes(t, "1")
	replace(t, at("merged/token"), "2")
	token.becomes(t, "2")
	put(t, at("lower/other"), "1") // below the overlay, which causes no event
	other.becomes(t, "1")
	replace(t, at("merged/other"), "2")
	other.becomes(t, "2")
}

func TestSingleFileMount(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := t.TempDir()
	outside, inside := filepath.Join(dir, "outside"), filepath.Join(dir, "with blank")
	put(t, outside, "0")
	put(t, inside, "")
	mount(t, outside, inside, "", syscall.MS_BIND, "")
	l := start(t, File(inside), Options{Poll: 50 * time.Millisecond, Debounce: 60 * time.Millisecond})
	if got := l.Stats().FixedMount; got != inside {
		t.Errorf("FixedMount is %q", got)
	}
	put(t, outside, "1")
	l.becomes(t, "1")
	if n, _ := l.log.count("a single file is mounted"); n != 1 {
		t.Errorf("warned %d times", n)
	}
	keys := open(t, Dir(dir, "outside", "with blank"), Options{})
	if got := keys.Stats().FixedMount; got != inside {
		t.Errorf("FixedMount of the directory is %q", got)
	}
	if got := open(t, File(outside), Options{}).Stats().FixedMount; got != "" {
		t.Errorf("FixedMount of a plain file is %q", got)
	}
}

// P1: inotify has one watch for a volume that is mounted at two paths. Its events wake the
// readers of both paths, also after one of them has ended.
func TestP1_VolumeMountedTwice(t *testing.T) {
	if !alone(t) {
		return
	}
	dir, again := t.TempDir(), t.TempDir()
	mount(t, dir, again, "", syscall.MS_BIND, "")
	put(t, filepath.Join(dir, "token"), "0")
	o := quick()
	o.Watcher = new(Watcher)
	ctx, end := context.WithCancel(t.Context())
	first := open(t, File(filepath.Join(dir, "token")), o)
	ended := make(chan error)
	go func() { ended <- first.Run(ctx) }()
	first.log.await(t, "watching the source", 1)
	second := start(t, File(filepath.Join(again, "token")), o)

	replace(t, filepath.Join(dir, "token"), "1")
	first.becomes(t, "1")
	second.becomes(t, "1")
	end()
	check(t, <-ended)
	replace(t, filepath.Join(dir, "token"), "2")
	second.becomes(t, "2")
}

// An unmount ends a watch, and fsnotify reports no event of it.
func TestMountReplaced(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "mnt")
	path := filepath.Join(dir, "token")
	check(t, os.Mkdir(dir, 0o700))
	put(t, path, "below")
	mount(t, "tmpfs", dir, "tmpfs", 0, "")
	put(t, path, "0")
	l := start(t, File(path), Options{Poll: 50 * time.Millisecond, Debounce: 60 * time.Millisecond})
	check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) // detached, because a read in progress would make a plain unmount fail
	l.becomes(t, "below")
	mount(t, "tmpfs", dir, "tmpfs", 0, "")
	put(t, path, "1")
	l.becomes(t, "1")
	replace(t, path, "2")
	l.becomes(t, "2")
}

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		if !alone(t) {
			return
		}
		check(t, syscall.Setgid(65534), syscall.Setuid(65534))
	}
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := start(t, File(path), quick())
	check(t, os.Chmod(path, 0))
	l.log.await(t, "permission denied; let this process read it", 1)
	if deref(l.Load()) != "0" {
		t.Errorf("is %q", deref(l.Load()))
	}
	check(t, os.Chmod(path, 0o400))
	l.log.await(t, "source is good again", 1)
	// An ancestor directory that is searchable but not readable cannot be watched, and need not be.
	check(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o111))
	t.Cleanup(func() { check(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o700)) })
	again := start(t, File(path), quick())
	replace(t, path, "1")
	again.becomes(t, "1")
	l.becomes(t, "1")
	if s := again.Stats(); s.Mode != modeEvents || s.WatchErrors[reasonAdd] != 0 {
		t.Errorf("stats: %+v", s)
	}
	// The directory of the file must be watched. Otherwise the file is polled.
	o := Options{Poll: 20 * time.Millisecond, Debounce: 30 * time.Millisecond}
	check(t, os.Chmod(filepath.Dir(path), 0o300))
	polled := open(t, File(path), o).run(t)
	polled.log.await(t, "no file system events, polling mode=poll every=20ms", 1)
	check(t, os.Rename(path, path+".old"), os.WriteFile(path, []byte("2"), 0o600))
	polled.becomes(t, "2")
	if s := polled.Stats(); s.Mode != modePoll || s.WatchErrors[reasonAdd] == 0 {
		t.Errorf("stats: %+v", s)
	}
	check(t, os.Chmod(filepath.Dir(path), 0o700))
	polled.log.await(t, "watching the source", 1)
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := start(t, File(path), quick())
	check(t, os.Remove(path), syscall.Mkfifo(path, 0o600))
	l.log.await(t, "not a regular file but a named pipe", 1)
	if _, err := l.Reload(); err == nil {
		t.Error("no error from Reload")
	}
	replace(t, path, "1")
	l.becomes(t, "1")
}

func TestMountinfo(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 22 0:27 /a\040b /run/a\040\134b\011c rw - tmpfs tmpfs rw
short line
32 22 0:27 /vol/token//deleted /etc/token ro - tmpfs tmpfs rw`
	for path, want := range map[string]string{
		"/run/a \\b\tc": "/run/a \\b\tc",
		"/etc/token":    "/etc/token",
		"/etc":          "",
		"/vol/token":    "",
	} {
		if got := mountedAmong(table, []string{"x", path}); got != want {
			t.Errorf("%q: got %q", path, got)
		}
	}
}
