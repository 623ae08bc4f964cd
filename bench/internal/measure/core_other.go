//go:build !linux

package measure

// OwnCore does nothing: only Linux lets a thread choose its core.
func OwnCore() (back func(), err error) { return func() {}, nil }
