package verify

import "github.com/tokenagent/tokenagent/internal/rotation"

// An ID names a credential without revealing it: the SHA-256 of a shared token, or the
// RFC 7638 thumbprint of a key. The zero ID names no credential.
type ID = rotation.ID

// A Slot says which part a credential plays in a rotation. Its String method returns the
// name of the slot in metrics, such as "previous". The zero Slot is unknown.
type Slot = rotation.Slot

// The slots.
const (
	SlotCurrent  = rotation.Current  // senders send it; always accepted
	SlotNext     = rotation.Next     // receivers accept it before any sender uses it
	SlotPrevious = rotation.Previous // superseded; accepted until its deadline
	SlotListed   = rotation.Listed   // another accepted token of a plain list
)
