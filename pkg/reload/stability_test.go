package reload

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seen returns a reading of one file, as a File would.
func seen(t *testing.T, path, text string, links ...symlink) reading {
	t.Helper()
	r := reading{content: Content{Data: []byte(text)}}
	info, err := os.Lstat(path)
	check(t, err)
	r.origin = origin{files: map[string]sourceFile{"": {path: path, info: info, links: links}}}
	r.sums = checksums(r.content)
	return r
}

func TestStabilityCheck(t *testing.T) {
	dir := t.TempDir()
	old, fresh, other := filepath.Join(dir, "old"), filepath.Join(dir, "fresh"), filepath.Join(dir, "other")
	for _, path := range []string{old, fresh, other} {
		put(t, path, "")
	}
	const second = time.Second
	linkA, linkB := symlink{"/l", "a"}, symlink{"/l", "b"}
	info := func(path string) os.FileInfo { return seen(t, path, "").origin.files[""].info }
	begin := time.Now()
	for name, c := range map[string]struct {
		before  func(s *stabilityCheck)
		now     reading
		byEvent bool
		age     time.Duration // since the first read
		wait    time.Duration // 0 means accepted, or unchanged
	}{
		"the same":                           {now: seen(t, fresh, "0", linkB)},
		"in place, first read":               {now: seen(t, old, "1", linkA), byEvent: true, wait: second},
		"in place, just before the debounce": {now: seen(t, old, "1", linkA), byEvent: true, age: second - 1, wait: 1},
		"in place, after the debounce":       {now: seen(t, old, "1", linkA), byEvent: true, age: second},
		"link retargeted":                    {now: seen(t, fresh, "1", linkB)},
		"link replaced by a file":            {now: seen(t, fresh, "1"), wait: second},
		"a new link on the path":             {now: seen(t, fresh, "1", linkA, symlink{"/m", "x"})},
		"new inode by event":                 {now: seen(t, fresh, "1", linkA), byEvent: true, wait: grace},
		"new inode by event, after grace":    {now: seen(t, fresh, "1", linkA), byEvent: true, age: grace},
		"new inode by event, read too late":  {now: seen(t, fresh, "1", linkA), byEvent: true, age: grace + maxLate + 1, wait: grace},
		"new inode, other content than before": {
			before: func(s *stabilityCheck) { s.wait(seen(t, fresh, "2", linkA), true, begin.Add(-grace)) },
			now:    seen(t, fresh, "1", linkA), byEvent: true, wait: grace,
		},
		"new inode by poll": {now: seen(t, fresh, "1", linkA), age: grace, wait: second - grace},
		"new inode, written to": {
			before: func(s *stabilityCheck) { s.markUnsettled("", info(fresh)) },
			now:    seen(t, fresh, "1", linkA), byEvent: true, age: grace, wait: second - grace,
		},
		"new inode, another one written to": {
			before: func(s *stabilityCheck) { s.markUnsettled("", info(other)) },
			now:    seen(t, fresh, "1", linkA), byEvent: true, age: grace,
		},
		"new inode, first read bad": {
			before: func(s *stabilityCheck) { s.refuse(seen(t, fresh, "bad", linkA)) },
			now:    seen(t, fresh, "1", linkA), byEvent: true, age: grace, wait: second - grace,
		},
		"link retargeted, first read bad": {
			before: func(s *stabilityCheck) { s.refuse(seen(t, fresh, "bad", linkB)) },
			now:    seen(t, fresh, "1", linkB), wait: second,
		},
		"link retargeted, another target was bad": {
			before: func(s *stabilityCheck) { s.refuse(seen(t, other, "bad", symlink{"/l", "c"})) },
			now:    seen(t, fresh, "1", linkB),
		},
		"link retargeted, bad before the accepted content": {
			before: func(s *stabilityCheck) { s.refuse(seen(t, fresh, "bad", linkB)); s.accept(seen(t, old, "0", linkA)) },
			now:    seen(t, fresh, "1", linkB),
		},
		"no debounce": {
			before: func(s *stabilityCheck) { s.debounce = -1 },
			now:    seen(t, old, "1", linkA),
		},
		"debounce shorter than grace": {
			before: func(s *stabilityCheck) { s.debounce = 1 },
			now:    seen(t, fresh, "1", linkA), byEvent: true, wait: 1,
		},
	} {
		s := stabilityCheck{debounce: second}
		s.accept(seen(t, old, "0", linkA))
		if c.before != nil {
			c.before(&s)
		}
		got := s.wait(c.now, c.byEvent, begin)
		if c.age > 0 {
			got = s.wait(c.now, c.byEvent, begin.Add(c.age))
		}
		if got != c.wait {
			t.Errorf("%s: waits %v, want %v", name, got, c.wait)
		}
	}
}

// Each key is judged on its own: a new file for one key says nothing about another key, nor
// about a missing one.
func TestEachKeyIsJudgedOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	files := func(names ...string) map[string]sourceFile {
		m := make(map[string]sourceFile)
		for i, name := range names {
			path := filepath.Join(dir, name)
			put(t, path, "")
			info, err := os.Lstat(path)
			check(t, err)
			m[string(rune('a'+i))] = sourceFile{path: path, info: info}
		}
		return m
	}
	keys := func(kv ...string) Content {
		c := Content{Keys: make(map[string][]byte)}
		for i := 0; i < len(kv); i += 2 {
			c.Keys[kv[i]] = []byte(kv[i+1])
		}
		return c
	}
	readingOf := func(c Content, at map[string]sourceFile) reading {
		r := reading{content: c, origin: origin{files: at}}
		r.sums = checksums(r.content)
		return r
	}
	s := stabilityCheck{debounce: time.Second}
	s.accept(readingOf(keys("a", "0", "b", "0"), files("a0", "b0")))
	now := time.Now()
	for name, c := range map[string]struct {
		r      reading
		accept bool
	}{
		"one by a new inode":              {readingOf(keys("a", "1", "b", "0"), files("a1", "b0")), true},
		"both by new inodes":              {readingOf(keys("a", "1", "b", "1"), files("a1", "b1")), true},
		"one by a new inode, one written": {readingOf(keys("a", "1", "b", "1"), files("a1", "b0")), false},
		"one by a new inode, one gone":    {readingOf(keys("a", "1"), files("a1")), false},
		"one more, by a new inode":        {readingOf(keys("a", "0", "b", "0", "c", "0"), files("a0", "b0", "c0")), true},
	} {
		s.restart()
		s.wait(c.r, true, now)
		if wait := s.wait(c.r, true, now.Add(grace)); (wait == 0) != c.accept {
			t.Errorf("%s: waits %v", name, wait)
		}
	}
}
