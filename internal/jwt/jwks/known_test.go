package jwks

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRestoredKeysGoStale: what one source has learned makes another one usable until MaxStale
// after the answer, and no longer. The later answer counts, and names are united.
func TestRestoredKeysGoStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := func() *RemoteSource {
			s, err := Remote("https://issuer.example/keys", RemoteOptions{MaxStale: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		answered := func(s *RemoteSource, names ...string) Known {
			now := time.Now()
			s.confirmed.Store(&now)
			for _, name := range names {
				s.addIssuer(name)
			}
			return s.Known()
		}
		next := source()
		next.Restore(source().Known())
		if next.Usable() || next.Issuers() != nil {
			t.Error("a source without an answer makes another one usable")
		}
		early := answered(source(), "a")
		time.Sleep(30 * time.Minute)
		late := answered(source(), "b", "c")
		for _, order := range [][]Known{{early, late}, {late, early}} {
			next := source()
			for _, k := range order {
				next.Restore(k)
			}
			if !next.Usable() || *next.confirmed.Load() != *late.confirmed {
				t.Error("the later answer does not count")
			}
			names := slices.Sorted(slices.Values(next.Issuers()))
			if !slices.Equal(names, []string{"a", "b", "c"}) {
				t.Errorf("the names are %v", names)
			}
		}
		next = source()
		next.Restore(late)
		time.Sleep(time.Hour - 1)
		if !next.Usable() {
			t.Error("not usable just before MaxStale")
		}
		time.Sleep(1)
		if next.Usable() {
			t.Error("usable at MaxStale")
		}
	})
}
