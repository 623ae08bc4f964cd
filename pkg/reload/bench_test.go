package reload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkSwapToLoaded measures P1: from just before the rename that makes a
// new token visible until Load returns it.
func BenchmarkSwapToLoaded(b *testing.B) {
	stage := func(b *testing.B, dir string, i int) (from, to string) {
		b.Helper()
		stamp := fmt.Sprint("..stamp", i)
		from, to = filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")
		for _, err := range []error{
			os.Mkdir(filepath.Join(dir, stamp), 0o700),
			os.WriteFile(filepath.Join(dir, stamp, "token"), fmt.Append(nil, i), 0o600),
			os.Symlink(stamp, from),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
		return from, to
	}
	b.Run("kubelet", func(b *testing.B) {
		dir := b.TempDir()
		from, to := stage(b, dir, -1)
		if err := os.Rename(from, to); err != nil {
			b.Fatal(err)
		}
		measure(b, Dir(dir, "token", "token-next", "token-previous", "token-previous-until", "token-revoked"), "token=", func(i int) time.Time {
			from, to := stage(b, dir, i)
			began := time.Now()
			if err := os.Rename(from, to); err != nil {
				b.Fatal(err)
			}
			_ = os.RemoveAll(filepath.Join(dir, fmt.Sprint("..stamp", i-1)))
			return began
		})
	})
	b.Run("rename", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "token")
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
		measure(b, File(path), "", func(i int) time.Time {
			if err := os.WriteFile(path+".new", fmt.Append(nil, i), 0o600); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			if err := os.Rename(path+".new", path); err != nil {
				b.Fatal(err)
			}
			return began
		})
	})
}

// measure times at least 200 swaps, even if b.N is smaller.
func measure(b *testing.B, src Source, prefix string, swap func(i int) time.Time) {
	b.Helper()
	v, err := Open(src, joined, Options{Poll: -1, Debounce: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { _ = v.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for v.Stats().Mode != modeEvents {
		sleep(ctx, time.Millisecond)
	}
	took := make([]time.Duration, 0, max(b.N, 200))
	for i := range max(b.N, 200) {
		sleep(ctx, 2*time.Millisecond) // a swap is measured on an idle Value
		want := prefix + strconv.Itoa(i)
		began := swap(i)
		for {
			updated := v.Updated()
			if *v.Load() == want {
				took = append(took, time.Since(began))
				break
			}
			select {
			case <-updated:
			case <-time.After(patience):
				b.Fatalf("still %q after swap %d", *v.Load(), i)
			}
		}
	}
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[len(took)*p/100]) / float64(time.Millisecond) }
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLoad measures what a request pays.
func BenchmarkLoad(b *testing.B) {
	b.Setenv("RELOAD_BENCH", "x")
	v, err := Open(Env("RELOAD_BENCH"), joined, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v.Load() == nil {
				b.Fatal("nil")
			}
		}
	})
}

// BenchmarkRead measures the cost of a poll.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("0123456789abcdef"), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, src := range map[string]Source{
		"file": File(filepath.Join(dir, "token")),
		"dir":  Dir(dir, "token", "token-next", "token-previous", "token-previous-until", "token-revoked"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := src.Read(b.Context(), 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
