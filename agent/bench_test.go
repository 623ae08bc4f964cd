package agent_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// long returns a 200-byte token.
func long(n int) string { return fmt.Sprintf("%s%08d", strings.Repeat("x", 192), n) }

func benchAgent(b *testing.B, n int) *agent.Agent {
	b.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, long(i))
	}
	path := filepath.Join(b.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	a, err := agent.Start(b.Context(), agent.Config{TokenFile: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Close() })
	return a
}

// BenchmarkVerify measures Verify with several numbers of accepted tokens. Run it with
// -cpu 1,2 to see how it scales.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		a := benchAgent(b, n)
		tokens := make([]string, n)
		for i := range tokens {
			tokens[i] = long(i)
		}
		b.Run(fmt.Sprintf("accepted=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				ctx, i := context.Background(), 0
				for pb.Next() {
					if _, err := a.Verify(ctx, tokens[i]); err != nil {
						b.Error(err)
						return
					}
					if i++; i == n {
						i = 0
					}
				}
			})
		})
	}
}

// BenchmarkControl shares no memory between goroutines. Its speedup from one core to two is
// the most that this machine allows; that of BenchmarkVerify should be similar.
func BenchmarkControl(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		var block [64]byte
		for pb.Next() {
			sum := sha256.Sum256(block[:])
			block[0] = sum[0]
		}
	})
}

// BenchmarkSwapToAccepted measures the time from the rename of ..data until Verify accepts
// the new token, over at least 200 swaps.
func BenchmarkSwapToAccepted(b *testing.B) {
	dir := b.TempDir()
	if err := kubemount.Write(dir, map[string][]byte{"token": []byte(long(0))}, 0o400); err != nil {
		b.Fatal(err)
	}
	a, err := agent.Start(b.Context(), agent.Config{TokenFile: dir, Poll: -1, Overlap: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	const swaps = 200
	var took []time.Duration
	for b.Loop() {
		for range swaps {
			n := len(took) + 1
			swap := stage(b, dir, n)
			changed := a.Updated()
			began := time.Now()
			swap()
			for {
				<-changed
				changed = a.Updated()
				if _, err := a.Verify(context.Background(), long(n)); err == nil {
					break
				}
			}
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// stage does what the kubelet does before the swap, and returns the swap.
func stage(b *testing.B, dir string, n int) (swap func()) {
	b.Helper()
	version := fmt.Sprintf("..2026_01_01_00_00_00.%d", n)
	old, err := os.Readlink(filepath.Join(dir, "..data"))
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, version), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, version, "token"), []byte(long(n)), 0o400)
	}
	if err == nil {
		err = os.Symlink(version, filepath.Join(dir, "..data_tmp"))
	}
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			b.Fatal(err)
		}
		_ = os.RemoveAll(filepath.Join(dir, old))
	}
}
