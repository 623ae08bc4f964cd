package reload

import (
	"crypto/sha256"
	"maps"
	"os"
	"time"
)

// grace is how long to wait for the event of a write to a new file. The kernel
// queues the event after the write, and two goroutines pass it on, so a reader can
// see the bytes first. This takes some tens of microseconds on an idle machine: 2 ms
// is ample, and well within the 5 ms that a swap may take.
const grace = 2 * time.Millisecond

// maxLate is how long after the end of the grace the next read may come.
const maxLate = time.Millisecond

// A checksum stands for content that is not kept.
type checksum [sha256.Size]byte

func checksums(c Content) map[string]checksum {
	if c.Keys == nil {
		return map[string]checksum{"": sha256.Sum256(c.Data)}
	}
	sums := make(map[string]checksum, len(c.Keys))
	for key, data := range c.Keys {
		sums[key] = sha256.Sum256(data)
	}
	return sums
}

// A stabilityCheck decides when changed content is accepted. It keeps checksums
// and the places of files, and no content.
//
//	every change since the accepted content is         wait
//	(there is none)                                    none
//	a new target of a symlink                          none
//	that, or a new file, and an event reported it      grace
//	anything else                                      debounce
//
// While content waits, a read with other content starts the wait again. A new file
// counts as "anything else" after markUnsettled, and a new target after refuse: both
// were seen with bad or perhaps incomplete content. accept forgets all that.
type stabilityCheck struct {
	debounce time.Duration // at most 0: accept at once

	accepted reading // without its content and steps; its sums are nil if nothing was accepted
	outdated bool    // bad content has changed the state since: the accepted content must be applied again

	refused   origin                 // of the last bad read since accept
	unsettled map[string]os.FileInfo // by key, since accept

	candidate candidate
}

// A candidate is changed content that waits to be accepted.
type candidate struct {
	sums    map[string]checksum // nil for none
	since   time.Time           // the first read of it; all reads since were equal
	byEvent bool                // an event led to one of these reads
	settled time.Time           // when the grace ends; zero before it begins
}

// wait returns how long to wait before a reading without an error is accepted. 0 also
// means that it is the accepted content.
func (s *stabilityCheck) wait(r reading, byEvent bool, now time.Time) time.Duration {
	if s.isAccepted(r) {
		return 0
	}
	c := &s.candidate
	if c.sums == nil || !maps.Equal(c.sums, r.sums) {
		*c = candidate{sums: r.sums, since: now}
	}
	c.byEvent = c.byEvent || byEvent
	wait := s.debounce
	switch byLinks, byNewFiles := s.cause(r); {
	case byLinks:
		wait = 0
	case byNewFiles && c.byEvent:
		wait = min(c.endOfGrace(now).Sub(c.since), s.debounce)
	}
	return max(0, wait-now.Sub(c.since))
}

// endOfGrace returns when the grace ends. After a read that comes late the grace begins
// again: the machine is busy, so the event may be late, too.
func (c *candidate) endOfGrace(now time.Time) time.Time {
	if c.settled.IsZero() || now.Sub(c.settled) > maxLate {
		c.settled = now.Add(grace)
	}
	return c.settled
}

// isAccepted reports whether the content of r is the accepted one.
func (s *stabilityCheck) isAccepted(r reading) bool {
	return s.accepted.sums != nil && !s.outdated && maps.Equal(r.sums, s.accepted.sums)
}

// cause reports whether all changes came by symlinks with new targets (byLinks),
// and whether all came by those or by new files (byNewFiles).
func (s *stabilityCheck) cause(r reading) (byLinks, byNewFiles bool) {
	byLinks, byNewFiles = true, true
	keys := maps.Clone(r.sums)
	maps.Copy(keys, s.accepted.sums) // a missing key may be about to be created again
	for key := range keys {
		sum, has := r.sums[key]
		was, had := s.accepted.sums[key]
		if has == had && sum == was || s.hasNewLink(r.origin, key) {
			continue
		}
		byLinks = false
		byNewFiles = byNewFiles && s.isNewFile(key, r.origin.files[key].info)
	}
	return byLinks, byNewFiles
}

// hasNewLink reports whether a symlink on the way to the key has a target that it
// had neither for the accepted content nor for bad content since.
func (s *stabilityCheck) hasNewLink(now origin, key string) bool {
	links := now.linksOf(key)
	return hasNewLink(links, s.accepted.origin.linksOf(key)) && hasNewLink(links, s.refused.linksOf(key))
}

// isNewFile reports whether the file is neither the accepted nor the unsettled one.
// The kernel reuses inode numbers; then a new file looks like the old one, which
// only costs the debounce.
func (s *stabilityCheck) isNewFile(key string, info os.FileInfo) bool {
	return info != nil && !sameFile(info, s.accepted.origin.files[key].info) && !sameFile(info, s.unsettled[key])
}

// accept records r as accepted. Rejected content is not recorded, so that it is
// tried again at every read.
func (s *stabilityCheck) accept(r reading) {
	r.content, r.origin.steps = Content{}, nil
	*s = stabilityCheck{debounce: s.debounce, accepted: r}
}

// refuse records where bad content was read. New content at the same place must
// pass the debounce.
func (s *stabilityCheck) refuse(r reading) {
	s.refused = r.origin
	for key, f := range r.origin.files {
		if f.info != nil {
			s.markUnsettled(key, f.info)
		}
	}
}

// markUnsettled records a file that must not change for the whole debounce before
// it is accepted.
func (s *stabilityCheck) markUnsettled(key string, info os.FileInfo) {
	if s.unsettled == nil {
		s.unsettled = make(map[string]os.FileInfo)
	}
	s.unsettled[key] = info
}

// restart drops the candidate, because something else was read since.
func (s *stabilityCheck) restart() { s.candidate = candidate{} }
