package reload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Watcher delivers file system events to the Values that share it. The zero
// Watcher is ready for use; it must not be copied. It uses one inotify instance, of
// which Linux by default allows a user 128 (inotify(7), max_user_instances), from
// the first [Value.Run] until the last one ends. If events are not available, the
// Values poll, report it in [Stats], and try again at every poll.
//
// Each watched directory is in one of these states:
//
//	state         next state   when
//	not watched   watched      a Value reads through it
//	watched       lost         it was deleted or renamed, or loses a watch that it shares
//	watched       not watched  no Value reads through it any more
//	lost          watched      a Value has read again, which the loss itself causes
type Watcher struct {
	open   func() (*fsnotify.Watcher, error)     // for tests; nil means fsnotify.NewWatcher
	addDir func(*fsnotify.Watcher, string) error // for tests; nil means its method Add

	// changing serializes changes of what is watched. It is locked before mu. deliver
	// must not lock it: Add and Remove of fsnotify may wait until deliver has received
	// an error. While it is held, a path is looked up only by addWatch, which limits
	// the time.
	changing sync.Mutex

	// mu guards the fields below, and is never held during I/O.
	mu     sync.Mutex
	notify *fsnotify.Watcher // nil while there are no events
	dirs   map[string]*watchedDir
	subs   map[*subscription]struct{}

	delivered chan struct{} // closed when deliver has ended for notify

	epoch time.Time // set by the first subscribe
}

type watchedDir struct {
	info  os.FileInfo
	added time.Time
	lost  bool // the kernel no longer watches it
}

// renewAfter is how long a directory that is still the same is not added again. A
// process with many Values reads through some directories hundreds of times a second.
const renewAfter = time.Second

// pollTicks is how many moments of a poll interval Values share for their polls. One
// wakeup of the process for many polls costs much less than one for each, and all polls at
// the same moment would delay requests.
const pollTicks = 10

// afterTick returns a channel that delivers at the last tick within wait. Ticks are equal
// for all subscriptions; wait must be at least one tick.
func (w *Watcher) afterTick(wait, tick time.Duration) <-chan time.Time {
	now := time.Since(w.epoch)
	return time.After((now + wait).Truncate(tick) - now)
}

// start returns the fsnotify watcher, and creates it if there is none. changing must
// be held.
func (w *Watcher) start() (*fsnotify.Watcher, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify != nil {
		return w.notify, nil
	}
	open := w.open
	if open == nil {
		open = fsnotify.NewWatcher
	}
	notify, err := open()
	if err != nil {
		return nil, err
	}
	delivered := make(chan struct{})
	w.notify, w.dirs, w.delivered = notify, make(map[string]*watchedDir), delivered
	go func() {
		defer close(delivered)
		w.deliver(notify)
	}()
	return notify, nil
}

// stop closes the fsnotify watcher and waits for its goroutine. changing must be
// held.
func (w *Watcher) stop() {
	w.mu.Lock()
	notify, delivered := w.notify, w.delivered
	w.notify, w.dirs = nil, nil
	w.mu.Unlock()
	if notify != nil {
		_ = notify.Close() // nothing was written that could be lost
		<-delivered
	}
}

// deliver passes on events until notify is closed. It receives errors as well:
// until they are received, fsnotify delivers nothing.
func (w *Watcher) deliver(notify *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-notify.Events:
			if !ok {
				return
			}
			w.handleEvent(e)
		case err, ok := <-notify.Errors:
			if !ok {
				return
			}
			w.handleError(err)
		}
	}
}

// handleEvent wakes the subscriptions that the event concerns. It also records that a file
// was written to, and that a directory was removed or renamed, which ends its watch.
func (w *Watcher) handleEvent(e fsnotify.Event) {
	parent, name := filepath.Split(e.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, dir := range w.pathsOf(filepath.Clean(parent)) {
		for s := range w.subs {
			s.handleEvent(dir, name, e)
		}
	}
	// The event may be about a watched directory itself.
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		w.markLost(e.Name)
	}
	w.wakeUsers(e.Name, false)
}

// pathsOf returns dir and the other watched paths of the same directory. A volume that is
// mounted twice has two paths, but inotify has one watch for both, and fsnotify reports its
// events with one path. mu must be held.
func (w *Watcher) pathsOf(dir string) []string {
	paths := []string{dir}
	d := w.dirs[dir]
	if d == nil { // most events are about a file
		return paths
	}
	for path, other := range w.dirs {
		if path != dir && os.SameFile(d.info, other.info) {
			paths = append(paths, path)
		}
	}
	return paths
}

// markLost records that the watch of the directory dir has ended. mu must be held.
func (w *Watcher) markLost(dir string) {
	for _, path := range w.pathsOf(dir) {
		if d := w.dirs[path]; d != nil {
			d.lost = true
		}
	}
}

// wakeUsers wakes the subscriptions that watch the directory dir. missed reports that some
// events of it are missing. mu must be held.
func (w *Watcher) wakeUsers(dir string, missed bool) {
	for _, path := range w.pathsOf(dir) {
		for s := range w.subs {
			if _, ok := s.dirs[path]; ok {
				s.pending.lost = s.pending.lost || missed
				s.wakeUp()
			}
		}
	}
}

// handleError wakes all subscriptions that watch directories: events may be missing.
func (w *Watcher) handleError(err error) {
	reason := reasonOther
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		reason = reasonOverflow
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		if len(s.dirs) == 0 {
			continue
		}
		s.pending.lost = true
		if s.pending.errors == nil {
			s.pending.errors = make(map[string]uint64)
		}
		s.pending.errors[reason]++
		s.wakeUp()
	}
}

// reasonOf returns the key of Stats.WatchErrors for an error of watching a
// directory. See inotify_init(2) and inotify_add_watch(2) for the limits.
func reasonOf(err error) string {
	for _, limit := range []error{syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, limit) {
			return reasonLimit
		}
	}
	if errors.Is(err, fsnotify.ErrClosed) {
		return reasonOther
	}
	return reasonAdd
}

// stat returns what dir is now. It returns nil if a watch of dir is as good as new, so that
// add has nothing to do: a read has just found dir to be seen, which is nil if the read did
// not look. No lock may be held, because a dead mount does not answer.
func (w *Watcher) stat(dir string, seen os.FileInfo) (os.FileInfo, error) {
	w.mu.Lock()
	d := w.dirs[dir]
	fresh := d != nil && !d.lost && seen != nil && os.SameFile(d.info, seen) && time.Since(d.added) < renewAfter
	w.mu.Unlock()
	if fresh {
		return nil, nil //nolint:nilnil // nothing to do is not an error
	}
	return os.Lstat(dir)
}

// watches reports whether dir has a watch.
func (w *Watcher) watches(dir string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dirs[dir]
	return d != nil && !d.lost
}

// add watches dir, which info describes. It adds the watch even if there is one, because an
// unmount ends a watch without an event; adding it twice changes nothing. isNew reports
// that events of dir may have been missed until now. changing must be held.
func (w *Watcher) add(notify *fsnotify.Watcher, dir string, info os.FileInfo) (isNew bool, err error) {
	w.mu.Lock()
	old := w.dirs[dir]
	replaced := old != nil && (old.lost || !os.SameFile(old.info, info))
	w.dirs[dir] = &watchedDir{info: info, added: time.Now()}
	w.mu.Unlock()
	if replaced {
		// fsnotify keeps the watch of the old directory otherwise. An error means
		// that it is gone.
		_ = notify.Remove(dir)
	}
	err = w.addWatch(notify, dir)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		delete(w.dirs, dir)
	}
	if replaced {
		w.wakeUsers(dir, true)
	}
	return old == nil && err == nil || replaced, err
}

// addLimit is how long the kernel may take to add a watch, while the other Values wait.
const addLimit = time.Second

var errNoAnswer = errors.New("the file system does not answer")

// addWatch adds a watch of dir to notify. If the mount of dir died after the read, the call
// never returns, and fsnotify delivers no events meanwhile. Then addWatch abandons notify,
// so that the other Values continue with a new one. changing must be held.
func (w *Watcher) addWatch(notify *fsnotify.Watcher, dir string) error {
	add := w.addDir
	if add == nil {
		add = (*fsnotify.Watcher).Add
	}
	added := make(chan error, 1)
	go func() { added <- add(notify, dir) }()
	limit := time.NewTimer(addLimit)
	defer limit.Stop()
	select {
	case err := <-added:
		return err
	case <-limit.C:
	}
	go func() {
		_ = errors.Join(<-added, notify.Close()) // nobody is left who could use either
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notify, w.dirs = nil, nil
	for s := range w.subs {
		if len(s.dirs) > 0 {
			s.pending.lost = true
			s.wakeUp()
		}
	}
	return fmt.Errorf("%s: %w", dir, errNoAnswer)
}

// removeUnused ends the watches that no subscription needs. changing must be held.
func (w *Watcher) removeUnused() {
	w.mu.Lock()
	notify := w.notify
	used := make(map[string]bool)
	for s := range w.subs {
		for dir := range s.dirs {
			used[dir] = true
		}
	}
	var unused []string
	for dir := range w.dirs {
		if !used[dir] {
			unused = append(unused, dir)
			w.markLost(dir) // also of its other paths
			w.wakeUsers(dir, true)
			delete(w.dirs, dir)
		}
	}
	w.mu.Unlock()
	for _, dir := range unused {
		_ = notify.Remove(dir) // an error means that it is gone
	}
}
