package position

import "testing"

func TestOf(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"a source":    Of("a source", "", "", 0),
		"a source:3":  Of("a source", "", "", 3),
		"file:3":      Of("a source", "file", "", 3),
		"key":         Of("a source", "", "key", 0),
		"dir/key:1":   Of("a source", "dir", "key", 1),
		"/path/a key": Of("a source", "/path", "a key", 0),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
