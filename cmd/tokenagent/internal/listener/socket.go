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
	"sync"
	"syscall"
)

// A Socket says who may connect to a Unix socket. The zero value leaves that to the
// umask and to the process's own user and group. It does not affect TCP addresses.
type Socket struct {
	Mode  fs.FileMode // permission bits; 0 means 0777 without those of the umask
	Owner *Owner      // nil means that of the process
}

// openSocket holds a lock on the directory, because two processes that find the same
// stale file would otherwise remove each other's socket.
func openSocket(ctx context.Context, path string, s Socket) (net.Listener, error) {
	if runtime.GOOS == "windows" && s != (Socket{}) {
		return nil, errors.New("--socket-mode and --socket-owner have no effect on Windows; leave them out")
	}
	dir := filepath.Dir(path)
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, explainDir(dir, err)
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	var c net.ListenConfig
	if s.Mode != 0 {
		c.Control = closeToAll // until chmod
	}
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, explainDir(dir, err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("%s: the system made no Unix socket", path)
	}
	if err := s.apply(path); err != nil {
		_ = u.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	u.SetUnlinkOnClose(false) // socket.Close removes the file, if it is still ours
	info, err := os.Lstat(path)
	if err != nil {
		_ = u.Close()
		return nil, err
	}
	return &socket{UnixListener: u, path: path, info: info}, nil
}

// apply sets the owner before the mode, because chown(2) may clear bits of the mode.
func (s Socket) apply(path string) error {
	if o := s.Owner; o != nil {
		if err := os.Lchown(path, o.UID, o.GID); err != nil {
			return fmt.Errorf("--socket-owner: %w; only root may give a file to another user, others only to a group that they are in", errno(err))
		}
	}
	if s.Mode != 0 {
		if err := os.Chmod(path, s.Mode.Perm()); err != nil {
			return fmt.Errorf("--socket-mode: %w", errno(err))
		}
	}
	return nil
}

// removeStale removes the socket that a killed process has left at path. A socket
// is stale if nobody answers on it. Anything else at path is an error.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket; choose another path", path)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.Is(err, errRefused), info.Mode().Perm() == 0: // 0: its process was killed before it could set the mode
		return os.Remove(path)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EPROTOTYPE):
		// Its queue is full, or it is not a stream socket.
	default:
		return fmt.Errorf("%s exists, and it is unknown whether a process uses it: %w; remove it or choose another path", path, errno(err))
	}
	return fmt.Errorf("%s is in use by another process; stop it or choose another path", path)
}

func explainDir(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist; create it, or mount it", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is not a directory; choose another path", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot create a socket in %s: %w; the user that runs this must be able to read and write there", dir, errno(err))
	}
	return fmt.Errorf("%s: %w", dir, errno(err))
}

// errno returns the error of the system call alone, because the message around it
// names the path already.
func errno(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// A socket is a Unix listener that removes its own file when it is closed, and no
// other process's.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// Close removes the file before it closes the socket. So no other process finds a stale
// file, and the open socket keeps the inode from being reused.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
