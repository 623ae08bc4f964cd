package reload

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A watchSpec says which events in a directory matter.
type watchSpec struct {
	allNames bool     // events of all names, not only of names
	names    []string // what the path looks up in the directory
	required bool     // without this watch, changes would be missed
}

// dirsToWatch returns the directory of each step. Files are not watched: a watch of
// a file follows the inode and not the name (inotify(7)). In the directories that
// hold the files every event counts. In the others only the names of the steps do,
// so that a path below a busy /tmp costs nothing.
func dirsToWatch(steps []pathStep) map[string]watchSpec {
	dirs := make(map[string]watchSpec, len(steps))
	for i, s := range steps {
		spec := dirs[s.dir]
		if !slices.Contains(spec.names, s.name) {
			spec.names = append(spec.names, s.name)
		}
		spec.allNames = spec.allNames || s.last
		// Parent directories are often unreadable and hardly ever replaced. A symlink
		// gets new targets, and after the last step more can appear.
		spec.required = spec.required || s.last || s.target != "" || i == len(steps)-1
		dirs[s.dir] = spec
	}
	return dirs
}

// A subscription is the part of a Watcher that one Value uses. The Watcher's mu
// guards its fields.
type subscription struct {
	w    *Watcher
	wake chan struct{} // holds one: any number of events cause one read

	dirs    map[string]watchSpec
	pending pendingEvents
}

// pendingEvents is what the events since the last read say.
type pendingEvents struct {
	written map[string]bool   // paths of files that were written to
	lost    bool              // some events are missing
	errors  map[string]uint64 // counts by reason
}

func (w *Watcher) subscribe() *subscription {
	s := &subscription{w: w, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs == nil {
		w.subs, w.epoch = make(map[*subscription]struct{}), time.Now()
	}
	w.subs[s] = struct{}{}
	return s
}

// close ends the subscription. The last one closes the inotify instance.
func (s *subscription) close() {
	w := s.w
	w.changing.Lock()
	defer w.changing.Unlock()
	w.mu.Lock()
	delete(w.subs, s)
	last := len(w.subs) == 0
	w.mu.Unlock()
	if last {
		w.stop()
		return
	}
	w.removeUnused()
}

// wakeUp causes a read.
func (s *subscription) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takePending returns the events since the last call, and whether there was any.
// Call it before a read, which covers all events until then. Events during the read
// stay pending.
func (s *subscription) takePending() (events pendingEvents, woken bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	select {
	case <-s.wake:
		woken = true
	default:
	}
	events, s.pending = s.pending, pendingEvents{}
	return events, woken
}

// handleEvent records an event of the entry name in the directory dir. The Watcher's mu must
// be held.
func (s *subscription) handleEvent(dir, name string, e fsnotify.Event) {
	spec := s.dirs[dir]
	named := slices.Contains(spec.names, name)
	if named {
		path := filepath.Join(dir, name)
		switch {
		case e.Has(fsnotify.Write) && s.pending.written == nil:
			s.pending.written = map[string]bool{path: true}
		case e.Has(fsnotify.Write):
			s.pending.written[path] = true
		case e.Has(fsnotify.Create): // a rename to the name as well
			delete(s.pending.written, path)
		}
	}
	if spec.allNames || named {
		s.wakeUp()
	}
}

// isWatched reports whether the directory that dir names now is watched.
func (s *subscription) isWatched(dir string) bool {
	s.w.mu.Lock()
	_, wanted := s.dirs[dir]
	d, ok := s.w.dirs[dir]
	ok = ok && wanted && !d.lost
	s.w.mu.Unlock()
	if !ok {
		return false
	}
	info, err := os.Lstat(dir)
	return err == nil && os.SameFile(d.info, info)
}

// watch makes s watch exactly the directories of steps. Call it after every read, because
// a directory may have been replaced, or could not be watched before. missed reports
// that events may have been missed, so that another read is necessary. The error says
// why a required directory is not watched.
func (s *subscription) watch(steps []pathStep) (missed bool, err error) {
	dirs, seen := dirsToWatch(steps), make(map[string]os.FileInfo, len(steps))
	for _, step := range steps {
		if step.dirInfo != nil {
			seen[step.dir] = step.dirInfo
		}
	}
	type found struct {
		info os.FileInfo
		err  error
	}
	w, now := s.w, make(map[string]found, len(dirs))
	for dir := range dirs {
		info, err := w.stat(dir, seen[dir])
		now[dir] = found{info, err}
	}
	w.changing.Lock()
	defer w.changing.Unlock()
	notify, err := w.start()
	w.mu.Lock()
	old := s.dirs
	s.dirs = dirs // before the watches, so that no event is dropped
	w.mu.Unlock()
	if err != nil {
		return false, err
	}
	for dir := range old {
		if _, ok := dirs[dir]; !ok { // s may have been the last to need it
			w.removeUnused()
			break
		}
	}
	for dir, spec := range dirs {
		isNew, addErr := false, now[dir].err
		switch info := now[dir].info; {
		case addErr != nil:
			isNew = errors.Is(addErr, fs.ErrNotExist)
		case info != nil || !w.watches(dir): // another Value may have removed it since
			isNew, addErr = w.add(notify, dir, cmp.Or(info, seen[dir]))
		}
		if errors.Is(addErr, errNoAnswer) {
			return false, addErr // notify is abandoned
		}
		before := old[dir]
		otherNames := spec.allNames != before.allNames || !slices.Equal(spec.names, before.names)
		missed = missed || isNew || addErr == nil && otherNames
		if addErr != nil && spec.required {
			err = addErr
		}
	}
	return missed, err
}
