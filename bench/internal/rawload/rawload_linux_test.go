package rawload

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const request = "GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"

func serve(t *testing.T, network, address string, h http.HandlerFunc) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); serving.Wait() })
	return l.Addr().String()
}

func open(t *testing.T, network, address string, n int) *Client {
	t.Helper()
	c, err := Open(network, address, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRunCountsAnswers: Run counts every answer once, and reuses its connections.
func TestRunCountsAnswers(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		var served, unexpected atomic.Int64
		var peers sync.Map
		at := serve(t, network, address, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/x" || r.Header.Get("A") != "b" {
				unexpected.Add(1)
			}
			peers.Store(r.RemoteAddr, true)
			if served.Add(1)%10 == 0 {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = io.WriteString(w, strings.Repeat("x", 10))
		})
		c := open(t, network, at, 4)
		for _, n := range []int{1, 3, 200, 796} {
			tally, err := c.Run(t.Context(), []byte(request), http.StatusOK, n)
			if err != nil || tally.Answers != n {
				t.Fatalf("%s: %d answers, want %d; error %v", network, tally.Answers, n, err)
			}
			if len(tally.Latency) != n || !slices.IsSorted(tally.Latency) {
				t.Errorf("%s: %d latencies, want %d; sorted: %t, want true", network, len(tally.Latency), n, slices.IsSorted(tally.Latency))
			}
			if n == 796 && tally.Wrong != 80 && tally.Wrong != 79 {
				t.Errorf("%s: %d answers with an unexpected status, want 79 or 80", network, tally.Wrong)
			}
			if tally.PerSecond() <= 0 || tally.Quantile(1) < tally.Quantile(0.5) || tally.Quantile(0) <= 0 {
				t.Errorf("%s: %v answers per second, maximum %v, median %v", network, tally.PerSecond(), tally.Quantile(1), tally.Quantile(0.5))
			}
		}
		if served.Load() != 1000 || unexpected.Load() != 0 {
			t.Errorf("%s: %d requests served, %d of them unexpected; want 1000 and 0", network, served.Load(), unexpected.Load())
		}
		n := 0
		peers.Range(func(any, any) bool { n++; return true })
		if network == "tcp" && n != 4 {
			t.Errorf("%d connections, want 4", n)
		}
	}
}

func TestRunReportsBadAnswers(t *testing.T) {
	for want, answer := range map[string]string{
		"closed":         "",
		"Content-Length": "HTTP/1.1 200 OK\r\n\r\n",
		"not an answer":  "SSH-2.0-x-and-more-of-it\r\n\r\n",
		"more than":      "HTTP/1.1 204 No Content\r\n\r\nHTTP",
		"status":         "HTTP/1.1 abc No\r\n\r\n",
	} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		})
		c := open(t, "tcp", l.Addr().String(), 1)
		if _, err := c.Run(t.Context(), []byte(request), 200, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("answer %q: error %v, want one that contains %q", answer, err, want)
		}
		_ = l.Close()
		serving.Wait()
	}
	if _, err := Open("unix", filepath.Join(t.TempDir(), "none"), 1); err == nil {
		t.Error("Open connected to a socket that does not exist")
	}
	if _, err := Open("udp", "127.0.0.1:1", 1); err == nil {
		t.Error("Open connected over UDP")
	}
}

func TestNextWaitsForTheWholeAnswer(t *testing.T) {
	whole := "HTTP/1.1 401 Unauthorized\r\nDate: now\r\nContent-Length: 5\r\n\r\nabcde"
	for i := range len(whole) {
		if length, _, err := next([]byte(whole[:i])); length != 0 || err != nil {
			t.Errorf("after %d bytes: length %d, error %v; want 0 and none", i, length, err)
		}
	}
	if length, status, err := next([]byte(whole + "HT")); length != len(whole) || status != 401 || err != nil {
		t.Errorf("length %d, status %d, error %v; want %d, 401 and none", length, status, err, len(whole))
	}
}
