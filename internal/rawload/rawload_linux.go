package rawload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Client holds connections to one server. It is for one goroutine, but for
// [Client.Close], which nothing else may run beside either.
type Client struct {
	poll  int
	conns []conn
	index map[int32]int // by file descriptor
	buf   []byte        // for what is read at once
}

type conn struct {
	fd    int
	asked time.Time
	rest  []byte // of an answer that is not whole yet
}

// stall is how long no answer may come before that is an error.
const stall = 20 * time.Second

// Open connects n times to address on network, "tcp" (IPv4, host:port) or "unix".
func Open(network, address string, n int) (*Client, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("rawload: epoll: %w", err)
	}
	c := &Client{poll: poll, index: map[int32]int{}, buf: make([]byte, 64<<10)}
	for i := range n {
		fd, err := connect(network, address)
		if err == nil {
			c.conns = append(c.conns, conn{fd: fd})
			c.index[int32(fd)] = i
			err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("rawload: connect to %s: %w", address, err)
		}
	}
	return c, nil
}

func connect(network, address string) (fd int, err error) {
	var to unix.Sockaddr
	family := unix.AF_UNIX
	switch network {
	case "unix":
		to = &unix.SockaddrUnix{Name: address}
	case "tcp":
		a, err := net.ResolveTCPAddr("tcp4", address)
		if err != nil {
			return -1, err
		}
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
	default:
		return -1, net.UnknownNetworkError(network)
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, to); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil && network == "tcp" {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close closes the connections. A second Close does nothing.
func (c *Client) Close() {
	for _, one := range c.conns {
		_ = unix.Close(one.fd)
	}
	if c.poll >= 0 {
		_ = unix.Close(c.poll)
	}
	c.conns, c.poll = nil, -1
}

// A Tally says how a Run went.
type Tally struct {
	Answers int
	Wrong   int // of them, those with another status than was wanted
	Took    time.Duration
	Latency []time.Duration // of each answer, in order of length
}

// PerSecond is the throughput; 0 of the zero Tally.
func (t Tally) PerSecond() float64 {
	if t.Took == 0 {
		return 0
	}
	return float64(t.Answers) / t.Took.Seconds()
}

// Quantile returns the latency that the part q of all answers, between 0 and 1,
// does not exceed; 0 of the zero Tally.
func (t Tally) Quantile(q float64) time.Duration {
	if len(t.Latency) == 0 {
		return 0
	}
	return t.Latency[min(len(t.Latency)-1, int(q*float64(len(t.Latency))))]
}

// Run sends request, a whole one, until n answers came, always one at a time on
// each connection. status is what each should have. After an error c is of no
// use but for Close.
func (c *Client) Run(ctx context.Context, request []byte, status, n int) (Tally, error) {
	// It waits in system calls, of which the scheduler need know nothing more.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := Tally{Latency: make([]time.Duration, 0, n)}
	began := time.Now()
	asked := 0
	for ; asked < min(n, len(c.conns)); asked++ {
		if err := c.conns[asked].ask(request, began); err != nil {
			return t, err
		}
	}
	events := make([]unix.EpollEvent, len(c.conns))
	for t.Answers < n {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		ready, err := unix.EpollWait(c.poll, events, int(stall.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return t, fmt.Errorf("rawload: epoll: %w", err)
		case ready == 0:
			return t, fmt.Errorf("rawload: no answer for %v", stall)
		}
		now := time.Now()
		for _, e := range events[:ready] {
			one := &c.conns[c.index[e.Fd]]
			got, err := one.answered(c.buf)
			if err != nil {
				return t, err
			}
			if got == 0 {
				continue
			}
			t.Answers++
			if got != status {
				t.Wrong++
			}
			t.Latency = append(t.Latency, now.Sub(one.asked))
			if asked == n {
				continue
			}
			asked++
			if err := one.ask(request, now); err != nil {
				return t, err
			}
		}
	}
	t.Took = time.Since(began)
	slices.Sort(t.Latency)
	return t, nil
}

// ask writes at once: a request is far smaller than a socket's buffer, which is
// empty, since all before it was answered.
func (c *conn) ask(request []byte, now time.Time) error {
	c.asked = now
	n, err := unix.Write(c.fd, request)
	if err == nil && n < len(request) {
		err = unix.EMSGSIZE
	}
	if err != nil {
		return fmt.Errorf("rawload: ask: %w", err)
	}
	return nil
}

// answered reads what there is and returns the status of an answer, or 0 while it
// is not whole.
func (c *conn) answered(buf []byte) (status int, err error) {
	n, err := unix.Read(c.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("rawload: read: %w", err)
	case n == 0:
		return 0, errors.New("rawload: the server closed a connection")
	}
	data := buf[:n]
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	length, status, err := next(data)
	switch {
	case err != nil:
		return 0, err
	case length == 0:
		if len(c.rest) == 0 {
			c.rest = append(c.rest, data...)
		}
		return 0, nil
	case length != len(data):
		return 0, errors.New("rawload: more than the answer came")
	}
	c.rest = c.rest[:0]
	return status, nil
}
