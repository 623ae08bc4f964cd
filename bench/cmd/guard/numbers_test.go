package main

import (
	"io"
	"path/filepath"
	"reflect"
	"testing"
)

func numbers(version string, ns ...Number) Numbers { return Numbers{Go: version, Operations: ns} }

func TestCompare(t *testing.T) {
	t.Parallel()
	was := numbers("go1", Number{"verify", 1, 1000})
	for name, c := range map[string]struct {
		now  Numbers
		fine bool
	}{
		"the same":                     {was, true},
		"within the tolerance":         {numbers("go1", Number{"verify", 1, 1030}), true},
		"more instructions":            {numbers("go1", Number{"verify", 1, 1031}), false},
		"more allocations":             {numbers("go1", Number{"verify", 2, 1000}), false},
		"less of both":                 {numbers("go1", Number{"verify", 0, 500}), true},
		"allocations alone":            {numbers("go1", Number{"verify", 1, 0}), true},
		"another Go":                   {numbers("go2", Number{"verify", 1, 1300}), true},
		"far more with another Go":     {numbers("go2", Number{"verify", 1, 1301}), false},
		"an operation that is new":     {numbers("go1", Number{"verify", 1, 1000}, Number{"more", 0, 1}), false},
		"an operation that is missing": {numbers("go1"), false},
	} {
		if err := compare(io.Discard, was, c.now); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSaveThenLoad(t *testing.T) {
	t.Parallel()
	path, want := filepath.Join(t.TempDir(), "guard.json"), numbers("go1", Number{"verify, 1", 0, 600}, Number{"HTTP", 2, 2000})
	if err := want.save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := load(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// TestPutMedian: one process with a bad seed of its maps is no regression, and one
// process with a good seed hides none.
func TestPutMedian(t *testing.T) {
	t.Parallel()
	took := tally{[][]int{{1521, 1400}, {1596, 1474}, {1521, 1475}}}
	now := numbers("go1", Number{"a", 0, 0}, Number{"b", 0, 0})
	took.put(&now)
	if a, b := now.Operations[0].Instructions, now.Operations[1].Instructions; a != 1521 || b != 1474 {
		t.Errorf("medians %d and %d, want 1521 and 1474", a, b)
	}
}
