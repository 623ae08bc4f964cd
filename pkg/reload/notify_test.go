package reload

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A remote source is polled, and has a Changed channel.
type remote struct {
	mu      sync.Mutex
	text    string
	reads   int
	most    int // further reads block until their context ends; 0 means no limit
	changed chan struct{}
}

func (r *remote) Read(ctx context.Context, _ int64) (Content, error) {
	r.mu.Lock()
	r.reads++
	text, block := r.text, r.most > 0 && r.reads > r.most
	r.mu.Unlock()
	if block {
		<-ctx.Done()
	}
	return Content{Data: []byte(text)}, nil
}

func (r *remote) Changed() <-chan struct{} { return r.changed }

func (r *remote) set(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
}

func (r *remote) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads
}

// A Source with a Changed channel is read when the channel delivers, without a poll.
// Changed content must still pass the Debounce.
func TestSourceThatNotifies(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		wait time.Duration
	}{
		"at once":           {Options{Poll: -1, Debounce: -1}, 0},
		"between two polls": {Options{Poll: time.Hour, Debounce: -1}, 0},
		"debounced":         {Options{Poll: -1, Debounce: time.Second}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &remote{text: "one", changed: make(chan struct{}, 1)}
				l := open(t, r, c.o).run(t)
				synctest.Wait()
				r.set("two")
				time.Sleep(time.Minute)
				if got := *l.Load(); got != "one" {
					t.Fatalf("%q before the channel delivered", got)
				}
				r.changed <- struct{}{}
				if c.wait > 0 {
					time.Sleep(c.wait - 1)
					synctest.Wait()
					if got := *l.Load(); got != "one" {
						t.Fatalf("%q before the Debounce", got)
					}
					time.Sleep(1)
				}
				synctest.Wait()
				if got := *l.Load(); got != "two" {
					t.Fatalf("%q after the channel delivered", got)
				}
			})
		})
	}
}

// Even a Source that closes its channel, which it must not, causes at most one read every
// limitPause, and Run ends with its context.
func TestSourceThatAlwaysNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &remote{text: "one", changed: make(chan struct{})}
		r.most = 10*int(time.Second/limitPause) + 10*int(time.Second/limitWindow)*(limitFree+1)
		close(r.changed)
		open(t, r, Options{Poll: -1, Debounce: -1}).run(t)
		time.Sleep(10 * time.Second)
		if n := r.count(); n > r.most {
			t.Errorf("%d reads in ten seconds, want at most %d", n, r.most)
		}
	})
}
