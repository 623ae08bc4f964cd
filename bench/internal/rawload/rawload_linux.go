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

// A Client holds connections to one server. It is not safe for concurrent use.
type Client struct {
	poll  int
	conns []conn
	index map[int32]int // by file descriptor
	buf   []byte        // of one read
}

type conn struct {
	fd     int
	sent   time.Time // when the last request was sent
	answer []byte    // as far as it was read
}

// stall is how long Run waits for an answer.
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

// A Tally is the result of a Run.
type Tally struct {
	Answers int
	Wrong   int // answers with another status than expected
	Took    time.Duration
	Latency []time.Duration // of each answer, sorted
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

// Run sends the complete request until it has n answers, one at a time on each
// connection. status is the expected status. After an error, c can only be closed.
func (c *Client) Run(ctx context.Context, request []byte, status, n int) (Tally, error) {
	// Run waits in system calls, so moving it to another thread has no use.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := Tally{Latency: make([]time.Duration, 0, n)}
	began := time.Now()
	sent := 0
	for ; sent < min(n, len(c.conns)); sent++ {
		if err := c.conns[sent].send(request, began); err != nil {
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
			got, err := one.receive(c.buf)
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
			t.Latency = append(t.Latency, now.Sub(one.sent))
			if sent == n {
				continue
			}
			sent++
			if err := one.send(request, now); err != nil {
				return t, err
			}
		}
	}
	t.Took = time.Since(began)
	slices.Sort(t.Latency)
	return t, nil
}

// send needs one write: a request is far smaller than the socket's buffer, which is
// empty because all earlier requests were answered.
func (c *conn) send(request []byte, now time.Time) error {
	c.sent = now
	n, err := unix.Write(c.fd, request)
	if err == nil && n < len(request) {
		err = unix.EMSGSIZE
	}
	if err != nil {
		return fmt.Errorf("rawload: send: %w", err)
	}
	return nil
}

// receive reads from the connection without waiting. It returns the status of the
// answer, or 0 if the answer is not complete yet.
func (c *conn) receive(buf []byte) (status int, err error) {
	n, err := unix.Read(c.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("rawload: read: %w", err)
	case n == 0:
		return 0, errors.New("rawload: the server closed a connection")
	}
	c.answer = append(c.answer, buf[:n]...)
	length, status, err := next(c.answer)
	switch {
	case err != nil || length == 0:
		return 0, err
	case length != len(c.answer):
		return 0, errors.New("rawload: the server sent more than the answer")
	}
	c.answer = c.answer[:0]
	return status, nil
}
