package reload

import (
	"errors"
	"io/fs"
	"os"
)

// An interest is what matters in one directory.
type interest struct {
	seen     os.FileInfo     // the directory, as the walk found it; nil where it did not look
	any      bool            // every event is a hint
	required bool            // without this watch a change is not seen
	names    map[string]bool // the names that the path goes through
}

// interests turns the way along a path into directories to watch: the one of
// each component and not the files, since a watch on a file follows its inode
// and not its name. In a directory that holds what is looked for every event
// counts. In those above it only the next name does, so that a path below a
// busy /tmp costs nothing more.
func interests(hops []hop) map[string]interest {
	want := make(map[string]interest, len(hops))
	seen := make(map[string]os.FileInfo, len(hops))
	for _, h := range hops {
		seen[h.path()] = h.info
	}
	for i, h := range hops {
		in, ok := want[h.dir]
		if !ok {
			in.names = make(map[string]bool, 1)
			in.seen = seen[h.dir]
		}
		in.names[h.name] = true
		in.any = in.any || h.last
		// Ancestors are often unreadable and hardly ever replaced. A link is
		// what gets retargeted, and where the way ended it will go on.
		in.required = in.required || h.last || h.target != "" || i == len(hops)-1
		want[h.dir] = in
	}
	return want
}

// wider reports whether in covers events that was did not.
func (in interest) wider(was interest) bool {
	if was.any {
		return false
	}
	if in.any {
		return true
	}
	for name := range in.names {
		if !was.names[name] {
			return true
		}
	}
	return false
}

// A subscription is one Value's share of a Watcher. Its fields are guarded by
// the Watcher's mu.
type subscription struct {
	w     *Watcher
	hints chan struct{} // holds one: any number of hints mean one more read

	want    map[string]interest
	news    news
	counts  map[string]uint64 // watch errors not yet fetched, by reason
	failing map[string]string // directory to fault, each counted once until it heals
}

// News is what happened since the last read, as far as it matters how.
type news struct {
	written map[string]bool // paths of files that somebody wrote to
	lost    bool            // and there may have been more
}

func (n *news) write(path string) {
	if n.written == nil {
		n.written = make(map[string]bool)
	}
	n.written[path] = true
}

func (w *Watcher) subscribe() *subscription {
	s := &subscription{w: w, hints: make(chan struct{}, 1), failing: make(map[string]string)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs == nil {
		w.subs = make(map[*subscription]struct{})
	}
	w.subs[s] = struct{}{}
	return s
}

// release ends the subscription, and with the last one the inotify instance.
func (s *subscription) release() {
	w := s.w
	w.arming.Lock()
	defer w.arming.Unlock()
	w.mu.Lock()
	delete(w.subs, s)
	empty := len(w.subs) == 0
	w.mu.Unlock()
	if empty {
		w.shut()
		return
	}
	w.prune()
}

func (s *subscription) hint() {
	select {
	case s.hints <- struct{}{}:
	default:
	}
}

func (s *subscription) count(reason string) {
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	s.counts[reason]++
}

// take fetches the news, and whether there was a hint. Call it before reading: the
// read answers every hint until now, and what happens during it stays for the next.
func (s *subscription) take() (n news, hinted bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	select {
	case <-s.hints:
		hinted = true
	default:
	}
	n, s.news = s.news, news{}
	return n, hinted
}

// faults fetches the counts of watch errors.
func (s *subscription) faults() map[string]uint64 {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	c := s.counts
	s.counts = nil
	return c
}

// covers reports whether dir, as it stands there now, is being watched for s.
func (s *subscription) covers(dir string) bool {
	s.w.mu.Lock()
	_, wanted := s.want[dir]
	d := s.w.dirs[dir]
	ok := wanted && d != nil && !d.lost
	var was os.FileInfo
	if ok {
		was = d.info
	}
	s.w.mu.Unlock()
	if !ok {
		return false
	}
	info, err := os.Lstat(dir)
	return err == nil && os.SameFile(was, info)
}

// An arming is what came of it.
type arming struct {
	changed bool  // events may have been missed: read again
	whole   bool  // everything required is watched
	err     error // why not
}

// arm watches these directories and no others for s. It is called after every
// read, so that a directory that was replaced, or could not be watched before,
// is watched from then on.
func (s *subscription) arm(want map[string]interest) (a arming) {
	w := s.w
	w.arming.Lock()
	defer w.arming.Unlock()
	notify, err := w.ensure()
	if notify == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.want = nil
		if err != nil {
			s.fault("", err)
		}
		return arming{err: err}
	}
	w.mu.Lock()
	was := s.want
	s.want = want // first, so that no event from now on is dropped
	delete(s.failing, "")
	w.mu.Unlock()
	w.prune()
	a.whole = true
	for dir, in := range want {
		fresh, err := w.add(notify, dir, in.seen)
		before, had := was[dir]
		a.changed = a.changed || fresh || err == nil && (!had || in.wider(before))
		w.mu.Lock()
		s.fault(dir, err)
		w.mu.Unlock()
		if err != nil && in.required {
			a.whole, a.err = false, err
		}
	}
	return a
}

// fault counts an error of watching dir, once until it heals. A directory that
// has just gone is none. mu must be held.
func (s *subscription) fault(dir string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(s.failing, dir)
		return
	}
	reason := reasonOf(err)
	if s.failing[dir] != reason {
		s.failing[dir] = reason
		s.count(reason)
	}
}

// prune ends the watches that nobody wants. arming must be held.
func (w *Watcher) prune() {
	w.mu.Lock()
	notify := w.fs
	var idle []string
	for dir := range w.dirs {
		if !w.wanted(dir) {
			idle = append(idle, dir)
			delete(w.dirs, dir)
		}
	}
	for s := range w.subs {
		for dir := range s.failing {
			if _, ok := s.want[dir]; !ok && dir != "" {
				delete(s.failing, dir)
			}
		}
	}
	w.mu.Unlock()
	for _, dir := range idle {
		_ = notify.Remove(dir) // an error says that it was gone already
	}
}

func (w *Watcher) wanted(dir string) bool {
	for s := range w.subs {
		if _, ok := s.want[dir]; ok {
			return true
		}
	}
	return false
}
