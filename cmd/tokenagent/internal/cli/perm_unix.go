//go:build unix

package cli

// runtimePermissions tells whether a file's mode says who may read it.
const runtimePermissions = true
