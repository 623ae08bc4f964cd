// Package rotation decides which credentials are accepted now, and until when.
//
// It is a pure ledger: [Advance] takes the ledger that was, what the source
// declares now and the time, and returns the ledger that is. It does no I/O,
// starts no goroutine and keeps no clock. Shared tokens and verification keys
// use the same ledger, so they rotate by the same rules.
//
// The unit is the credential, not the version of the file: each one has its
// own slot and its own deadline, so that two rotations inside one window keep
// both superseded credentials, each to its own deadline, and a rotation back
// restores what it displaced.
package rotation
