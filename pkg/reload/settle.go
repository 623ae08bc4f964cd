package reload

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"time"
)

// grace is how long a new file is watched for writes before it is believed. The bytes of a file that is being written can be read before the event of
// the write that made them is delivered: the kernel queues the event after the
// write, and then two goroutines hand it on. This is some tens of microseconds on an
// idle machine, so 2 ms is ample, and well inside the 5 ms that a swap may take.
const grace = 2 * time.Millisecond

// A digest stands for content once the bytes are gone.
type digest [sha256.Size]byte

// A reading is one read of the source with all that is needed to judge it.
type reading struct {
	content Content
	ev      evidence
	err     error
	sum     digest            // of everything
	parts   map[string]digest // of each key; File has the one key ""
}

// digestOf makes the sums. The salt, random per Value, keeps a memory dump from
// telling that two processes hold the same secret.
func (r *reading) digest(salt []byte) {
	r.parts = make(map[string]digest, len(r.content.Keys)+1)
	part := func(key string, data []byte) {
		h := sha256.New()
		h.Write(salt)
		h.Write(data)
		r.parts[key] = digest(h.Sum(nil))
	}
	if r.content.Keys == nil {
		part("", r.content.Data)
	}
	for key, data := range r.content.Keys {
		part(key, data)
	}
	all := sha256.New()
	all.Write(salt)
	for _, key := range slices.Sorted(maps.Keys(r.parts)) {
		all.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
		all.Write([]byte(key))
		sum := r.parts[key]
		all.Write(sum[:])
	}
	r.sum = digest(all.Sum(nil))
}

// A settler decides when changed content may be believed. It keeps no bytes of
// any content, only sums and where they stood.
type settler struct {
	debounce time.Duration

	some     bool    // something was accepted
	accepted reading // what was, without its content

	// Since then, per key: a file that held something bad, that somebody wrote
	// to, or that appeared while nobody watched; and the links of bad content.
	badFiles map[string]os.FileInfo
	badWays  map[string][]link
	badWay   []link // for keys not in badWays
	bad      bool   // there was a bad reading: badWay counts

	pending struct {
		some    bool
		sum     digest
		since   time.Time // when this content was first read, equal ever since
		byEvent bool      // an event told of it
	}
}

// A verdict says what to do with a reading.
type verdict int

const (
	verdictUnchanged verdict = iota
	verdictAccept
	verdictWait // and read again
)

// judge weighs a reading without an error. With verdictWait comes how long to
// wait before reading again.
func (s *settler) judge(r reading, byEvent bool, now time.Time) (verdict, time.Duration) {
	if s.some && r.sum == s.accepted.sum {
		return verdictUnchanged, 0
	}
	p := &s.pending
	if !p.some || p.sum != r.sum {
		p.some, p.sum, p.since, p.byEvent = true, r.sum, now, false
	}
	p.byEvent = p.byEvent || byEvent
	age := now.Sub(p.since)
	if s.debounce <= 0 || age >= s.debounce {
		return verdictAccept, 0
	}
	links, inodes := s.inOneStep(r)
	switch {
	case links:
		return verdictAccept, 0
	case !inodes || !p.byEvent:
		return verdictWait, s.debounce - age
	case age >= grace:
		return verdictAccept, 0
	default:
		return verdictWait, min(grace, s.debounce) - age
	}
}

// inOneStep reports whether every change from the accepted content to r became
// visible in one step: links where links that lead elsewhere prove it, inodes where
// there are at least new files.
func (s *settler) inOneStep(r reading) (links, inodes bool) {
	links, inodes = true, true
	for key, sum := range r.parts {
		if s.some && s.accepted.parts[key] == sum {
			continue
		}
		if s.relinked(key, r) {
			continue
		}
		links, inodes = false, inodes && s.renewed(key, r.ev.spots[key].info)
	}
	// A key that is gone proves nothing by itself: its file may be about to be
	// created anew.
	for key := range s.accepted.parts {
		if _, ok := r.parts[key]; !ok && !s.moved(r.ev.way, s.accepted.ev.way, s.badWay) {
			return false, false
		}
	}
	return links, inodes
}

// relinked reports whether a link on the way to the key leads elsewhere than it
// did for what was accepted, and for what was bad.
func (s *settler) relinked(key string, r reading) bool {
	was, ok := s.accepted.ev.spots[key]
	if !ok {
		was.way = s.accepted.ev.way
	}
	bad, ok := s.badWays[key]
	if !ok {
		bad = s.badWay
	}
	return s.moved(r.ev.spots[key].way, was.way, bad)
}

func (s *settler) moved(now, accepted, bad []link) bool {
	return retargeted(now, accepted) && (!s.bad || retargeted(now, bad))
}

// renewed reports whether the file is another one than was accepted, and not
// one in doubt. Inode numbers are used again; taking a new file for an old one
// only costs the wait.
func (s *settler) renewed(key string, info os.FileInfo) bool {
	if info == nil || sameFile(info, s.accepted.ev.spots[key].info) {
		return false
	}
	bad := s.badFiles[key]
	return bad == nil || !os.SameFile(info, bad)
}

// accept remembers r as accepted. Only here, so that content which was refused
// is tried again for as long as it stands there.
func (s *settler) accept(r reading) {
	r.content = Content{}
	s.some, s.accepted = true, r
	s.badFiles, s.badWays, s.badWay, s.bad = nil, nil, nil, false
	s.pending.some = false
}

// forget makes the accepted content news should it be read again. Where it stood
// is still known.
func (s *settler) forget() { s.accepted.sum = digest{} }

// refuse remembers where bad content stood: what appears there later is not
// believed at once.
func (s *settler) refuse(r reading) {
	s.bad, s.badWay = true, r.ev.way
	s.badWays = make(map[string][]link, len(r.ev.spots))
	for key, at := range r.ev.spots {
		s.badWays[key] = at.way
		if at.info != nil {
			s.doubt(key, at.info)
		}
	}
}

// doubt remembers a file that must hold still before it is believed.
func (s *settler) doubt(key string, info os.FileInfo) {
	if s.badFiles == nil {
		s.badFiles = make(map[string]os.FileInfo)
	}
	s.badFiles[key] = info
}

// restart forgets the content that was waiting: something else was read since.
func (s *settler) restart() { s.pending.some = false }
