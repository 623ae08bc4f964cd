package rotation

// A Slot says what part a credential plays in a rotation. The zero Slot is
// none: no credential has it.
type Slot uint8

// The slots, in the order in which one wins when a source names the same
// credential several times.
const (
	Current  Slot = iota + 1 // what senders send; accepted always
	Next                     // staged for receivers before any sender uses it; accepted while declared
	Previous                 // superseded: declared so, or remembered; accepted until its deadline
	Listed                   // one more accepted entry of a plain list; accepted while declared
)

// Slots lists every slot.
var Slots = [...]Slot{Current, Next, Previous, Listed} //nolint:gochecknoglobals // a constant table

// String returns the slot's name as metrics and status show it, and "" for
// the zero Slot.
func (s Slot) String() string {
	switch s {
	case Current:
		return "current"
	case Next:
		return "next"
	case Previous:
		return "previous"
	case Listed:
		return "listed"
	default:
		return ""
	}
}
