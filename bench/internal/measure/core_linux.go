package measure

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// OwnCore gives the calling goroutine the first core that the process may use, and the
// rest of the process the other cores, until the caller calls back. Two threads on one
// core wait for each other for 4 ms and more, which is a hundred times the latency that
// a busy loop measures. With one core, OwnCore does nothing.
func OwnCore() (back func(), err error) {
	var all, own, rest unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	if all.Count() < 2 {
		return func() {}, nil
	}
	rest = all
	for cpu := 0; own.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			own.Set(cpu)
			rest.Clear(cpu)
		}
	}
	runtime.LockOSThread() // so that later threads do not inherit the affinity of this one
	back = func() {
		_ = bind(&all) // after an error the process continues on fewer cores
		runtime.UnlockOSThread()
	}
	if err := errors.Join(bind(&rest), unix.SchedSetaffinity(0, &own)); err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// bind restricts every thread of the process to the cores of set.
func bind(set *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err == nil {
			err = unix.SchedSetaffinity(id, set)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // the thread may have ended
			return err
		}
	}
	return nil
}
