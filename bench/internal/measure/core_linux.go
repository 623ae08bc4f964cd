package measure

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// OwnCore gives the caller a core of its own, the first it may use, and the rest of
// the process the others, until back is called. Two threads that the kernel happens
// to put on one core wait for each other for 4 ms and more, which is a hundred times
// what a look through busy eyes is after. Where there is one core it does nothing.
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
	runtime.LockOSThread() // threads that begin later are not made by this one then
	back = func() {
		_ = bind(&all) // or it goes on on fewer cores
		runtime.UnlockOSThread()
	}
	if err := errors.Join(bind(&rest), unix.SchedSetaffinity(0, &own)); err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// bind has every thread of the process run where set says.
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
		if err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has ended
			return err
		}
	}
	return nil
}
