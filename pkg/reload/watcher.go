package reload

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// A Watcher hands file system events to the Values that share it. It takes one
// inotify instance, of which a user often has no more than 128, from the first
// Run until the last one ends. The zero Watcher is ready for use, and any number
// of Values may share it. Where no events are to be had, for want of inotify
// instances say, the Values poll, tell so in Stats.Mode, and try again at every
// poll.
type Watcher struct {
	open func() (*fsnotify.Watcher, error) // for tests; nil is fsnotify.NewWatcher
	off  bool                              // never any events

	// arming serialises changes of what is watched. It is taken before mu. The
	// dispatching goroutine must never wait for it: fsnotify may hold its own
	// lock, which Add and Remove need, until an error was taken from it.
	arming sync.Mutex

	mu   sync.Mutex // guards the rest, held for moments only
	fs   *fsnotify.Watcher
	done chan struct{} // closed when dispatch has ended
	dirs map[string]*watched
	subs map[*subscription]struct{}
}

// A watched directory.
type watched struct {
	info os.FileInfo
	lost bool // deleted or moved: the kernel watches it no longer
}

// ensure returns the open fsnotify watcher, opening it if there is none. It is
// nil without an error in a Watcher that is off. arming must be held.
func (w *Watcher) ensure() (*fsnotify.Watcher, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.fs != nil:
		return w.fs, nil
	case w.off:
		return nil, nil
	}
	open := fsnotify.NewWatcher
	if w.open != nil {
		open = w.open
	}
	fs, err := open()
	if err != nil {
		return nil, err
	}
	w.fs, w.done = fs, make(chan struct{})
	w.dirs = make(map[string]*watched)
	go w.dispatch(fs, w.done)
	return fs, nil
}

// shut closes the fsnotify watcher and waits. arming must be held.
func (w *Watcher) shut() {
	w.mu.Lock()
	fs, done := w.fs, w.done
	w.fs, w.dirs = nil, nil
	w.mu.Unlock()
	if fs != nil {
		_ = fs.Close() // nothing was written that could be lost
		<-done
	}
}

// dispatch hands on events until fs is closed. It takes errors as well: while
// they are not taken, fsnotify delivers nothing.
func (w *Watcher) dispatch(fs *fsnotify.Watcher, done chan struct{}) {
	defer close(done)
	events, errs := fs.Events, fs.Errors
	for events != nil || errs != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			w.event(e)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			w.trouble(err)
		}
	}
	// Unless shut took it away, it has ended by itself. Then the next arm
	// opens another one.
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs == fs {
		w.fs, w.dirs = nil, nil
		for s := range w.subs {
			s.hint()
		}
	}
}

// event finds who wants to know. What happened matters in three cases only: a
// write to a file, a new file at its name, and a directory that went, whose watch
// is lost.
func (w *Watcher) event(e fsnotify.Event) {
	gone := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	dir, name := filepath.Split(e.Name)
	dir = filepath.Clean(dir)
	path := filepath.Join(dir, name) // in the root fsnotify writes //name
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dirs[e.Name]; d != nil && gone {
		d.lost = true
	}
	for s := range w.subs {
		if in, ok := s.want[dir]; ok && (in.any || in.names[name]) {
			switch {
			case !in.names[name]:
			case e.Has(fsnotify.Write):
				s.news.write(path)
			case e.Has(fsnotify.Create): // a rename over the name as well: another file is there now
				delete(s.news.written, path)
			}
			s.hint()
		}
		if _, ok := s.want[e.Name]; ok { // the directory itself
			s.hint()
		}
	}
}

// trouble is an error of the watcher: whatever it was, events may be missing.
func (w *Watcher) trouble(err error) {
	reason := reasonOther
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		reason = reasonOverflow
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		s.news.lost = true
		s.count(reason)
		s.hint()
	}
}

// reasonOf classifies why a directory could not be watched.
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

// add watches dir, again if what stands there is another directory than
// before. fresh says that events may have been missed until now. seen is what the
// read that came before found there, nil for nothing. arming must be held.
func (w *Watcher) add(notify *fsnotify.Watcher, dir string, seen os.FileInfo) (fresh bool, err error) {
	if w.renew(notify, dir, seen) {
		return false, nil
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), err
	}
	w.mu.Lock()
	d := w.dirs[dir]
	replaced := d != nil && (d.lost || !os.SameFile(d.info, info))
	twin := w.twin(dir, info)
	if w.dirs != nil {
		w.dirs[dir] = &watched{info: info}
	}
	w.mu.Unlock()
	if replaced {
		// Otherwise fsnotify keeps the watch of the old directory until that is
		// deleted. The error says that it was gone already.
		_ = notify.Remove(dir)
	}
	if twin != "" {
		// inotify has one watch per inode and fsnotify one path per watch.
		err = &os.PathError{Op: "watch", Path: dir, Err: errors.New("it is watched as " + twin)}
	} else {
		err = notify.Add(dir)
	}
	again, statErr := os.Lstat(dir)
	raced := statErr != nil || !os.SameFile(info, again)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		delete(w.dirs, dir)
	case raced && w.dirs[dir] != nil:
		w.dirs[dir].lost = true // the next arm sees to it
	}
	if replaced {
		for s := range w.subs { // who shares it has missed events too
			if _, ok := s.want[dir]; ok {
				s.news.lost = true
				s.hint()
			}
		}
	}
	return d == nil && err == nil || replaced || raced, err
}

// renew does what nearly every poll finds enough: dir is the directory that is
// watched, and is watched again, since a watch can end without an event, by an
// unmount. Where it lives this does nothing. If dir is replaced meanwhile, an event of
// the directory above says so.
func (w *Watcher) renew(notify *fsnotify.Watcher, dir string, seen os.FileInfo) bool {
	w.mu.Lock()
	d := w.dirs[dir]
	same := d != nil && !d.lost && seen != nil && os.SameFile(d.info, seen)
	w.mu.Unlock()
	return same && notify.Add(dir) == nil
}

// twin finds another path under which this directory is watched, as happens
// with bind mounts. mu must be held.
func (w *Watcher) twin(dir string, info os.FileInfo) string {
	for path, d := range w.dirs {
		if path != dir && !d.lost && os.SameFile(d.info, info) {
			return path
		}
	}
	return ""
}
