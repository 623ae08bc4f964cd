// Package buildinfo returns the version of tokenagent.
package buildinfo

import (
	"runtime/debug"
	"sync/atomic"
)

const module = "github.com/tokenagent/tokenagent"

// linked is the version that the linker wrote into package main.
var linked atomic.Pointer[string] //nolint:gochecknoglobals // one program has one version

// Set makes Version return version, unless version is "". The program calls Set when it
// starts.
func Set(version string) {
	if version != "" {
		linked.Store(&version)
	}
}

// Version returns the version that was passed to Set, else the version of this module that
// go install or go build recorded in the program, else "unknown". It is safe for
// concurrent use.
func Version() string {
	if v := linked.Load(); v != nil {
		return *v
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return recorded(info)
}

func recorded(info *debug.BuildInfo) string {
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return "unknown"
}
