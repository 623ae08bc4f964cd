package rotation

import "errors"

// A Slot says which part a credential plays in a rotation. No accepted credential has the
// zero Slot.
type Slot uint8

// The slots, strongest first. If a source declares a credential several times, the
// strongest slot counts.
const (
	Current  Slot = iota + 1 // senders send it; always accepted
	Next                     // receivers accept it before any sender uses it; accepted while declared
	Previous                 // superseded, by declaration or by a rotation; accepted until its deadline
	Listed                   // another entry of a plain list; accepted while declared
)

// Slots lists every slot, strongest first. Callers must not modify it.
var Slots = [...]Slot{Current, Next, Previous, Listed} //nolint:gochecknoglobals // a constant table

// String returns the name of the slot in metrics and status, such as "current". It
// returns "" for the zero Slot and for unknown slots.
func (s Slot) String() string {
	names := [...]string{Current: "current", Next: "next", Previous: "previous", Listed: "listed"}
	if int(s) >= len(names) {
		return ""
	}
	return names[s]
}

// MarshalText returns String. The error is always nil.
func (s Slot) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses what MarshalText returns. The error does not quote text.
func (s *Slot) UnmarshalText(text []byte) error {
	for _, slot := range Slots {
		if slot.String() == string(text) {
			*s = slot
			return nil
		}
	}
	return errors.New("rotation: unknown slot")
}
