package token

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// tokenOf returns a 200-byte token, a usual size for one that is a JWT.
func tokenOf(i int) string {
	return fmt.Sprintf("%s%08d", strings.Repeat("x", 192), i)
}

func setOf(n int) *Set {
	decls := make([]rotation.Decl[Token], n)
	for i := range decls {
		t := New(tokenOf(i))
		decls[i] = rotation.Decl[Token]{ID: t.ID(), Slot: rotation.Listed, Value: t}
	}
	decls[0].Slot = rotation.Current
	return NewSet(rotation.Advance(nil, rotation.Content[Token]{Decls: decls}, time.Now(), rotation.Window{}), SetOptions{Source: "token"})
}

func BenchmarkVerify(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{1, 2, 100, 1_000, 10_000} {
		s := setOf(n)
		good, bad := make([]string, n), tokenOf(n)
		for i := range good {
			good[i] = tokenOf(i)
		}
		b.Run(fmt.Sprintf("accepted/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := s.Verify(ctx, good[i]); err != nil {
					b.Fatal(err)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("refused/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(ctx, bad); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// BenchmarkSHA256 measures the upper limit for the cost of a verification.
func BenchmarkSHA256(b *testing.B) {
	token := []byte(tokenOf(0))
	b.ReportAllocs()
	for b.Loop() {
		sha256.Sum256(token)
	}
}
