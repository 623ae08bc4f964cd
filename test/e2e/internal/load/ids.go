// Package load sends numbered work through a sidecar for as long as a test
// runs, and remembers what was acknowledged.
package load

import "sync"

// IDs is a set of work by id; the zero value is empty.
type IDs struct {
	mu  sync.Mutex
	ids map[string]int
}

// Add counts one occurrence of id.
func (s *IDs) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]int{}
	}
	s.ids[id]++
}

// Len is the number of different ids.
func (s *IDs) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// Repeats is how often an id came again.
func (s *IDs) Repeats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	repeats := 0
	for _, n := range s.ids {
		repeats += n - 1
	}
	return repeats
}

// Missing lists the ids of want that s does not have.
func (s *IDs) Missing(want *IDs) []string {
	want.mu.Lock()
	defer want.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for id := range want.ids {
		if s.ids[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing
}
