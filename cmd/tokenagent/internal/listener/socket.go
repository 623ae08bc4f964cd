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
	Mode  fs.FileMode // permission bits; 0 means 0777 without the bits of the umask
	Owner *Owner      // nil means the owner of the process
}

// openSocket listens on path. It holds a lock on the directory, because two processes
// that find the same stale file would otherwise remove each other's socket.
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
		c.Control = denyAll // until chmod
	}
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, explainDir(dir, err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("%s: the system did not create a Unix socket", path)
	}
	if err := s.apply(path); err != nil {
		_ = u.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	u.SetUnlinkOnClose(false) // socket.Close removes the file unless it was replaced
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
			return fmt.Errorf("--socket-owner: %w; only root may give a file to another user, and other users only to a group of theirs", errno(err))
		}
	}
	if s.Mode != 0 {
		if err := os.Chmod(path, s.Mode.Perm()); err != nil {
			return fmt.Errorf("--socket-mode: %w", errno(err))
		}
	}
	return nil
}

// removeStale removes the socket that a killed process has left at path. A socket is
// stale if no process listens on it. Any other file at path is an error.
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
	case errors.Is(err, errRefused), info.Mode().Perm() == 0: // 0 means that its process was killed before it set the mode
		return os.Remove(path)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EPROTOTYPE):
		// Its queue is full, or it is not a stream socket.
	default:
		return fmt.Errorf("%s exists, and it is unknown whether a process uses it: %w; remove it, or choose another path", path, errno(err))
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
		return fmt.Errorf("cannot create a socket in %s: %w; give the user of this process read and write access to the directory", dir, errno(err))
	}
	return fmt.Errorf("%s: %w", dir, errno(err))
}

// errno returns only the error of the system call, because the caller's message names the
// path already.
func errno(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// A socket is a Unix listener whose Close removes its own file, but not the file of
// another process.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

// Close removes the file before it closes the socket, so that no other process finds a
// stale file. While the socket is open, its inode cannot be reused, so os.SameFile is
// reliable.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
