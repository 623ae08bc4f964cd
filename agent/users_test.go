package agent

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestUsersAreBoundedUnderConcurrency: of many hosts that use a superseded token for the
// first time at once, only as many are remembered as there is room for.
func TestUsersAreBoundedUnderConcurrency(t *testing.T) {
	t.Parallel()
	u := newPreviousUsers()
	for n := range maxUsers - 1 {
		u.mark(userID{host: strconv.Itoa(n)}, time.Now())
	}
	var added atomic.Int32
	var begun, ended sync.WaitGroup
	u.mu.Lock() // so that all of them find room before one of them adds a host
	for n := range 50 {
		begun.Add(1)
		ended.Go(func() {
			begun.Done()
			if u.mark(userID{host: "new " + strconv.Itoa(n)}, time.Now()) {
				added.Add(1)
			}
		})
	}
	begun.Wait()
	for range 1000 {
		runtime.Gosched()
	}
	u.mu.Unlock()
	ended.Wait()
	if n := len(u.list()); n != maxUsers || added.Load() != 1 {
		t.Errorf("%d hosts are remembered, and %d of them are new; want %d and 1", n, added.Load(), maxUsers)
	}
}
