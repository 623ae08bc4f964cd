package load

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Most work that one stream sends, so that a test that hangs does not fill a disk.
const limit = 20_000

// A Stream does one thing at a steady pace. An attempt that fails, as while
// daprd restarts, is made again with the same id at the next beat.
type Stream struct {
	Acked  IDs // what do returned nil for
	failed atomic.Int64
	beat   time.Duration
	do     func(id string) error
	// onFailure, if not nil, is told of each attempt that failed.
	onFailure func(error)
	stop      chan struct{}
	done      sync.WaitGroup
	once      sync.Once
}

// Start begins a stream of ids "name-worker-number" that ends with Stop or
// with the test.
func Start(tb testing.TB, name string, workers int, beat time.Duration, do func(id string) error, onFailure func(error)) *Stream {
	tb.Helper()
	s := &Stream{beat: beat, do: do, onFailure: onFailure, stop: make(chan struct{})}
	for w := range workers {
		s.done.Go(func() { s.work(fmt.Sprintf("%s-%d", name, w), limit/workers) })
	}
	tb.Cleanup(s.Stop)
	return s
}

func (s *Stream) work(name string, most int) {
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
func (s *Stream) Stop() {
	s.once.Do(func() { close(s.stop) })
	s.done.Wait()
}

// Failed is the number of attempts that were made again.
func (s *Stream) Failed() int64 { return s.failed.Load() }
