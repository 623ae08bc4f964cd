// Package model explores the rotation protocol: operators that stage, promote,
// retire and revoke, receivers that learn of it late and restart, senders that
// change over later still, and clocks that are off. The receivers in it are the
// real ones: [token.ParseDir], [rotation.Advance] and [token.Set]. The
// rest is a table of who does what when, which is either every table that there
// is of a small size, or a large one at random. README.md says what it shows.
package model

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A token of the model is a number, and a letter where it is shown.
type token int

const (
	none     token = iota // no token
	first                 // the one that is current at the beginning
	stranger token = -1   // one that no source ever declares
)

const alphabet = 128

func (k token) String() string {
	switch {
	case k == stranger:
		return "a stranger"
	case k >= first && k <= 26:
		return string(rune('A' + k - first))
	default:
		return fmt.Sprintf("T%d", int(k))
	}
}

// What is presented for a token, and the SHA-256 of that, by number; the stranger
// has place 0.
var (
	texts   [alphabet]string
	digests [alphabet]rotation.ID
	_       = spell()
)

func spell() bool {
	for i := range texts {
		texts[i] = fmt.Sprintf("CANARY-model-%08d", i)
		digests[i] = verify.Digest(texts[i])
	}
	return true
}

func (k token) text() string { return texts[max(k, 0)] }

func (k token) id() rotation.ID { return digests[max(k, 0)] }

// tick is the grid on which small models have their delays. A publication waits
// for whole seconds, since that is what a deadline is written in.
const tick = 10 * time.Second

const second = time.Second
