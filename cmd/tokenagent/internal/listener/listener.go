// Package listener opens the daemon's listeners: TCP addresses and Unix sockets. It
// also reloads the TLS certificates of those listeners when their files change.
package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// Open listens on addr, host:port or unix:///path, until the listener is closed.
// ctx limits only the opening.
//
// Open replaces a socket file on which no process listens. A socket that is in use is an
// error, and so is a file of another kind. If several processes start on one path at the
// same time, one of them gets it. On Linux the file never has a wider mode than s.Mode.
// Close removes the file, unless another process has replaced it.
func Open(ctx context.Context, addr string, s Socket) (net.Listener, error) {
	path, isSocket := Path(addr)
	if !isSocket {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp", addr)
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	return openSocket(ctx, path, s)
}

// Check reports what is wrong with the form of addr. It does not try to listen.
func Check(addr string) error {
	if path, ok := Path(addr); ok {
		return checkPath(path)
	}
	const fix = "give it as host:port, such as 127.0.0.1:8080, or as unix:///path"
	_, port, err := net.SplitHostPort(addr)
	if form, ok := errors.AsType[*net.AddrError](err); ok {
		return fmt.Errorf("%s; %s", form.Err, fix)
	}
	if _, err := net.LookupPort("tcp", port); err != nil { //nolint:noctx // asks no server
		return fmt.Errorf("there is no port %s; %s", port, fix)
	}
	return err
}

// Path returns the path of unix:///path, and whether addr has that form.
func Path(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix://") }

// maxPath is the maximum length in bytes of the path of a socket: that of sun_path in
// unix(7) without the final zero.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("unix:// has no path; give it as unix:///path")
	case strings.HasPrefix(path, "@") || strings.Contains(path, "\x00"):
		return errors.New("an abstract socket has no mode and no owner, so any process on the machine may connect; give it a path, as unix:///path")
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("%s is a directory; name a socket in it", path)
	case len(path) > maxPath:
		return fmt.Errorf("the path of the socket has %d bytes, and the system allows %d; choose a shorter path", len(path), maxPath)
	}
	return nil
}
