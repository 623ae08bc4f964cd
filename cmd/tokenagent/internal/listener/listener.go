// Package listener opens what the daemon listens on: TCP addresses and Unix
// sockets, the latter with a mode and an owner; and keeps the certificates of
// those that speak TLS in step with their files.
package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Socket says who may connect to a Unix socket. The zero value leaves that to
// the umask and to the process's own user and group. TCP takes no notice.
type Socket struct {
	Mode  fs.FileMode // permission bits; 0 means 0777 without those of the umask
	Owner *Owner      // nil means that of the process
}

// Open listens on addr, host:port or unix:///path, until the listener is closed.
// ctx bounds the opening alone.
//
// A socket file that nobody answers on is replaced, in one step; one that is
// alive, or a file of another kind, is an error. Of several processes that start at
// once on one path, one gets it. The file has s's mode and owner from the first
// moment that it can be found. Close removes it, unless another process has put
// its own in that place.
func Open(ctx context.Context, addr string, s Socket) (net.Listener, error) {
	path, local := Path(addr)
	if !local {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp", addr)
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	return openSocket(ctx, path, s)
}

// Check reports what is wrong with the form of addr, whether or not one may listen
// there.
func Check(addr string) error {
	if path, local := Path(addr); local {
		return checkPath(path)
	}
	const mend = "give it as host:port, such as 127.0.0.1:8080, or as unix:///path"
	_, port, err := net.SplitHostPort(addr)
	if form, ok := errors.AsType[*net.AddrError](err); ok {
		return fmt.Errorf("%s; %s", form.Err, mend)
	}
	if _, err := net.LookupPort("tcp", port); err != nil { //nolint:noctx // asks nobody
		return fmt.Errorf("there is no port %s; %s", port, mend)
	}
	return err
}

// Path returns the path of unix:///path, and whether addr has that form.
func Path(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix://") }

// maxPath is how long the path of a socket may be, in bytes: unix(7), sun_path of
// 108 bytes with its final zero, 104 on systems that came from BSD.
func maxPath() int {
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		return 107
	}
	return 103
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("unix:// is without a path; give it as unix:///path")
	case strings.HasPrefix(path, "@") || strings.Contains(path, "\x00"):
		return errors.New("an abstract socket has no mode and no owner, so that anybody on the machine may connect; give it a path, as unix:///path")
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("%s is a directory; name a socket in it", path)
	case len(path) > maxPath():
		return fmt.Errorf("the path of the socket has %d bytes, and the system takes %d; choose a shorter one", len(path), maxPath())
	}
	return nil
}

// openSocket makes the socket in a directory that nobody else can enter, gives it
// its mode and owner, and moves it to path, listening. The umask would do for the
// mode alone, but it belongs to the whole process, whose other goroutines make
// files meanwhile.
func openSocket(ctx context.Context, path string, s Socket) (net.Listener, error) {
	dir := filepath.Dir(path)
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, aboutDir(dir, err)
	}
	defer unlock()
	if err := vacant(ctx, path); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, ".ta") // 0700
	if err != nil {
		return nil, aboutDir(dir, err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	u, err := bind(ctx, work)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	made := filepath.Join(work, madeName)
	info, err := s.settle(made)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = u.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &socket{UnixListener: u, path: path, info: info}, nil
}

const madeName = "s"

// bind makes a socket in the directory work, and listens.
func bind(ctx context.Context, work string) (*net.UnixListener, error) {
	at := filepath.Join(work, madeName)
	if len(at) > maxPath() && runtime.GOOS == "linux" {
		// The place that was asked for fits, but this one is longer.
		d, err := os.Open(work)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		at = fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), madeName)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", at)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, errors.New("the system made no Unix socket")
	}
	u.SetUnlinkOnClose(false) // it would unlink where it was made
	return u, nil
}

// settle gives the socket at path its owner and mode, in this order: chown(2) may
// clear bits of the mode.
func (s Socket) settle(path string) (fs.FileInfo, error) {
	if o := s.Owner; o != nil {
		if err := os.Lchown(path, o.UID, o.GID); err != nil {
			return nil, fmt.Errorf("--socket-owner: %w; only root may give a file away, others only to a group that they are in", cause(err))
		}
	}
	if s.Mode != 0 {
		if err := os.Chmod(path, s.Mode.Perm()); err != nil {
			return nil, fmt.Errorf("--socket-mode: %w", cause(err))
		}
	}
	return os.Lstat(path)
}

// vacant returns nil where a socket may be put at path: there is none, or one that
// nobody answers on.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 && runtime.GOOS != "windows" { // which tells sockets from files in some versions only
		return fmt.Errorf("%s is there and is no socket; choose another path", path)
	}
	// A socket file outlives a process that was killed. If nobody answers there,
	// it is such a one.
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.Is(err, errRefused):
		if info.Mode().IsRegular() { // on Windows
			return fmt.Errorf("%s is there and is no socket; choose another path", path)
		}
		return nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EPROTOTYPE):
		// Its queue is full, or it is of another type than ours.
	default:
		return fmt.Errorf("%s is there, and whether anybody uses it cannot be told: %w; remove it or choose another path", path, cause(err))
	}
	return fmt.Errorf("%s is in use by another process; stop it or choose another path", path)
}

func aboutDir(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s is not there; create it, or mount it", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is no directory; choose another path", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no socket can be made in %s: %w; the user that runs this must be able to read and write there", dir, cause(err))
	}
	return fmt.Errorf("%s: %w", dir, cause(err))
}

// cause is what the system said, without paths that nobody gave.
func cause(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// A socket is a Unix listener that removes its file, and no other's, when it is
// closed.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// Addr returns where it is to be found; where it was made is of no use.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// closeLimit bounds how long Close waits for another process that starts or ends.
const closeLimit = 2 * time.Second

// Close removes the file while it still answers: nobody takes it for a stale one
// and replaces it between the look and the removal, and no other file has its
// inode.
func (s *socket) Close() error {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if unlock, err := lock(ctx, filepath.Dir(s.path)); err == nil {
			defer unlock()
		}
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
