package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// long runs all of TestSoak; `make soak` sets it.
var long = flag.Bool("soak", false, "soak at full length")

// A soak is one tokenagent under load, and the resources that it could leak.
type soak struct {
	t      *testing.T
	mount  *secretMount
	view   *daemon
	steady sharedToken // in the slot next all the time, for the load
	tokens []sharedToken

	forward, authz, admin string // host:port, a socket's path, host:port
}

// held counts the resources that a process must not accumulate.
type held struct{ goroutines, files, watches int }

const mostMemory = 40_000_000 // bytes

// TestSoak sends a million forward-auth requests. Meanwhile it rotates as often as an
// hour with a rotation every ten seconds would, and thousands of clients of every kind
// come and go. Afterwards tokenagent has exactly the goroutines, open files and inotify
// watches that it had before, and little memory. Without -soak the test does a part of
// that.
func TestSoak(t *testing.T) {
	t.Parallel()
	requests, rotations := 60_000, 30
	if *long {
		requests, rotations = 1_000_000, 360
	}
	s := startSoak(t)
	began := time.Now()
	s.load(5_000, 3) // warm up, so that everything that is made only once exists
	before := s.settled()
	s.load(requests, rotations)
	var after held
	last := func() bool {
		after = s.least(20)
		return after == before
	}
	for deadline := time.Now().Add(20 * time.Second); !last() && time.Now().Before(deadline); {
	}
	if after != before {
		t.Errorf("holds %+v after it, %+v before it", after, before)
	}
	page := parseMetrics(t, s.view.Metrics())
	memory, peak := page.Sum("process_resident_memory_bytes", nil), s.peak()
	if memory >= mostMemory {
		t.Errorf("%.1f MB of memory, and at times %.1f MB", memory/1e6, peak/1e6)
	}
	ok := page.Sum("tokenagent_verifications_total", labels{"result": "ok"})
	if int(ok) < requests {
		t.Errorf("only %.0f requests were accepted", ok)
	}
	t.Logf("%.0f accepted, %.0f others, %d rotations in %v: %+v before and after, %.1f MB of memory, at times %.1f MB",
		ok, page.Sum("tokenagent_verifications_total", nil)-ok, rotations, time.Since(began).Round(time.Second), after, memory/1e6, peak/1e6)
	everything := s.view.Log() + s.view.Metrics() + s.view.Pages()
	for _, token := range append(s.tokens, s.steady) {
		if token.Leaked(everything) {
			t.Error("tokenagent shows a token")
		}
	}
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t, mount: newSecretMount(t), steady: newToken(), authz: filepath.Join(t.TempDir(), "authz.sock")}
	s.forward, s.admin = loopback(freePort(t)), loopback(freePort(t))
	s.publish()
	// The overlap is short, so that old tokens expire during the soak.
	p := startProcess(t, "tokenagent", built(t, tokenagentBinary), []string{
		"run", "--token-file", s.mount.Dir, "--overlap", "2s", "--max-overlap=-1s", "--listen", s.forward, "--grpc-listen", "unix://" + s.authz, "--admin-listen", s.admin,
	}, nil)
	// Its connections are closed at once, as what they are would be counted.
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	s.view = &daemon{t: t, process: p, admin: "http://" + s.admin, client: client}
	s.view.answers()
	return s
}

// publish puts a new token into the Secret, beside the steady one.
func (s *soak) publish() (next sharedToken) {
	next = newToken()
	s.tokens = append(s.tokens, next)
	s.mount.Publish(map[string]string{"token": string(next), "token-next": string(s.steady)})
	return next
}

// load sends requests over persistent connections. Meanwhile it rotates, and with each
// rotation it runs clients of every kind.
func (s *soak) load(requests, rotations int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var loading sync.WaitGroup
	defer loading.Wait()
	loading.Go(func() {
		s.ask(ctx, requests)
	})
	for n := range rotations {
		if s.t.Failed() {
			return // and the load is told to end
		}
		if n%10 == 5 {
			s.publishInvalid()
		}
		old := s.tokens[len(s.tokens)-1]
		next := s.publish()
		waitFor(s.t, 20*time.Second, "the new token is shown", func() bool {
			return parseMetrics(s.t, s.view.Metrics()).Has("tokenagent_token_info", labels{"slot": "current", "fingerprint": next.Fingerprint()})
		})
		s.clients(old, next)
	}
	loading.Wait()
}

// ask sends n requests over 16 kept connections, with the headers that nginx sends.
func (s *soak) ask(ctx context.Context, n int) {
	const connections = 16
	transport := &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.forward+"/", http.NoBody)
			if err != nil {
				s.t.Error(err)
				return
			}
			r.Header = http.Header{"Dapr-Api-Token": {string(s.steady)}, "Accept": {"*/*"}, "X-Forwarded-For": {"192.0.2.7"}}
			for left.Add(-1) >= 0 {
				answer, err := transport.RoundTrip(r)
				if err != nil {
					s.t.Error(err)
					return
				}
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					s.t.Errorf("the steady token is refused: %s", answer.Status)
					return
				}
			}
		})
	}
	all.Wait()
}

// publishInvalid publishes an invalid token, and waits until the status shows the error.
func (s *soak) publishInvalid() {
	s.t.Helper()
	s.mount.Publish(map[string]string{"token": "too-short"})
	waitFor(s.t, 20*time.Second, "the error shows", func() bool { return strings.Contains(s.view.page("/status"), "shorter than 16") })
}

// settled returns what tokenagent holds when only the test itself sends requests.
func (s *soak) settled() (h held) {
	s.t.Helper()
	waitFor(s.t, 20*time.Second, "what it holds stays the same", func() bool {
		was := h
		h = s.least(20)
		return h == was
	})
	return h
}

// least looks n times. A look itself adds a goroutine now and then, and its
// connection is not always gone at the next.
func (s *soak) least(n int) (h held) {
	s.t.Helper()
	for i := range n {
		page := parseMetrics(s.t, s.view.Metrics())
		now := held{int(page.Sum("go_goroutines", nil)), int(page.Sum("process_open_fds", nil)), s.watches()}
		if i == 0 {
			h = now
		}
		h = held{min(h.goroutines, now.goroutines), min(h.files, now.files), min(h.watches, now.watches)}
	}
	return h
}

// watches counts the inotify watches; see proc(5), /proc/pid/fdinfo.
func (s *soak) watches() (n int) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", s.view.process.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil { // it may be closed meanwhile
			n += strings.Count(string(text), "inotify wd:")
		}
	}
	return n
}

// peak returns the most memory that tokenagent has used; see proc(5), VmHWM.
func (s *soak) peak() float64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.view.process.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			return kb * 1024
		}
	}
	s.t.Fatal("no VmHWM")
	return 0
}
