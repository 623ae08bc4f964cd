// Package buildinfo says which version of tokenagent runs.
package buildinfo

import (
	"runtime/debug"
	"sync/atomic"
)

const module = "github.com/tokenagent/tokenagent"

// linked is what the linker wrote into package main. It is that of the process, as
// debug.ReadBuildInfo is.
var linked atomic.Pointer[string] //nolint:gochecknoglobals // one program has one version

// Set makes Version return version. The program calls it once, when it starts, with
// what its build set; "" changes nothing.
func Set(version string) {
	if version != "" {
		linked.Store(&version)
	}
}

// Version returns what was Set; else the version of this module that go install,
// or go build in a repository, recorded in the program; else "unknown". It is safe
// for concurrent use.
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
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return "unknown"
}
