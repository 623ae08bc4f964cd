package server

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipes is a listener whose connections have no buffer: a write waits until the other side
// reads. So a test knows when a write waits.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once

	mu      sync.Mutex
	awaited string
	heard   chan struct{} // closed when a write that holds awaited begins
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), ended: make(chan struct{})} }

// servePipes runs s until the test ends.
func servePipes(t *testing.T, s server) *pipes {
	t.Helper()
	l := newPipes()
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); serving.Wait() })
	return l
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Net: "pipe"} }

func (l *pipes) connect() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- &noticed{theirs, l}
	return ours
}

// dial returns a connection whose reads and writes fail after 20 s.
func (l *pipes) dial(t *testing.T) *wire {
	t.Helper()
	c := l.connect()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{c, bufio.NewReader(c)}
}

// said calls do, and returns when the server has begun to write something that contains
// text.
func (l *pipes) said(text string, do func()) {
	heard := make(chan struct{})
	l.mu.Lock()
	l.awaited, l.heard = text, heard
	l.mu.Unlock()
	do()
	<-heard
}

// A noticed is a connection that reports its writes to its listener.
type noticed struct {
	net.Conn
	of *pipes
}

func (n *noticed) Write(b []byte) (int, error) {
	n.of.mu.Lock()
	if n.of.heard != nil && strings.Contains(string(b), n.of.awaited) {
		close(n.of.heard)
		n.of.heard = nil
	}
	n.of.mu.Unlock()
	return n.Conn.Write(b)
}
