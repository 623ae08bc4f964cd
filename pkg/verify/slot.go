package verify

import "github.com/tokenagent/tokenagent/internal/rotation"

// An ID names a credential without revealing it: the SHA-256 of a shared token, or
// the RFC 7638 thumbprint of a key.
type ID = rotation.ID

// A Slot says which part a credential plays in a rotation. Its String method
// returns the name that metrics use, such as "previous".
type Slot = rotation.Slot

// The slots.
const (
	SlotCurrent  = rotation.Current  // what senders send; always accepted
	SlotNext     = rotation.Next     // staged for receivers before any sender uses it
	SlotPrevious = rotation.Previous // superseded; accepted until its deadline
	SlotListed   = rotation.Listed   // one more accepted token of a plain list
)
