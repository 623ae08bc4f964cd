// Package model tests the rotation protocol with a model. Operators stage, promote,
// retire and revoke. Receivers see that late, and restart. Senders change to the new
// token later still. Clocks are wrong. The receivers run the real code:
// [token.ParseDir], [rotation.Advance] and [token.Set]. Everything else is a table of
// who does what at which time. The tests run every small table, and large random ones.
// README.md says what holds.
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

// A token of the model is a number. String shows it as a letter.
type token int

const (
	none       token = iota // no token
	first                   // is current at the beginning
	undeclared token = -1   // is in no version of the source
)

const alphabet = 128

func (k token) String() string {
	switch {
	case k == undeclared:
		return "an undeclared token"
	case k >= first && k <= 26:
		return string(rune('A' + k - first))
	default:
		return fmt.Sprintf("T%d", int(k))
	}
}

// The text of each token and its SHA-256 digest, by number. The undeclared token
// has index 0.
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

// tick is the unit of the delays in small worlds. The operator's waits are whole
// seconds, because a source declares deadlines in seconds.
const tick = 10 * time.Second

const second = time.Second
