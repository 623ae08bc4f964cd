package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxPerStream limits what one stream sends, so that a test that hangs does not fill the
// disk.
const maxPerStream = 20_000

// A stream does one thing at a steady pace. If an attempt fails, for example while daprd
// restarts, the stream repeats it with the same id at the next beat.
type stream struct {
	Acked     idSet // ids for which do returned nil
	failed    atomic.Int64
	beat      time.Duration
	do        func(id string) error
	onFailure func(error) // may be nil
	stop      chan struct{}
	done      sync.WaitGroup
	once      sync.Once
}

// startStream starts a stream of ids "name-worker-number". The stream ends with Stop or
// with the test.
func startStream(tb testing.TB, name string, workers int, beat time.Duration, do func(id string) error, onFailure func(error)) *stream {
	tb.Helper()
	s := &stream{beat: beat, do: do, onFailure: onFailure, stop: make(chan struct{})}
	for w := range workers {
		s.done.Go(func() { s.work(fmt.Sprintf("%s-%d", name, w), maxPerStream/workers) })
	}
	tb.Cleanup(s.Stop)
	return s
}

func (s *stream) work(name string, most int) {
	tick := time.NewTicker(s.beat)
	defer tick.Stop()
	for n := 0; n < most; {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("%s-%d", name, n)
		if err := s.do(id); err != nil {
			s.failed.Add(1)
			if s.onFailure != nil {
				s.onFailure(err)
			}
			continue
		}
		s.Acked.Add(id)
		n++
	}
}

// Stop ends the stream and waits for the attempts in flight.
func (s *stream) Stop() {
	s.once.Do(func() { close(s.stop) })
	s.done.Wait()
}

// Failed is the number of attempts that failed and were repeated.
func (s *stream) Failed() int64 { return s.failed.Load() }

// An idSet counts ids; the zero value is empty.
type idSet struct {
	mu  sync.Mutex
	ids map[string]int
}

// Add counts one occurrence of id.
func (s *idSet) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]int{}
	}
	s.ids[id]++
}

// Len is the number of different ids.
func (s *idSet) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// Repeats is how often an id came again.
func (s *idSet) Repeats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	repeats := 0
	for _, n := range s.ids {
		repeats += n - 1
	}
	return repeats
}

// Missing lists the ids of want that s does not have.
func (s *idSet) Missing(want *idSet) []string {
	want.mu.Lock()
	defer want.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for id := range want.ids {
		if s.ids[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing
}
