//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package store

// lock does nothing here; a change made meanwhile is still noticed, up to the
// moment before it is replaced.
func lock(string) (unlock func(), err error) { return func() {}, nil }
